/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/config_keys.h"

#include <inttypes.h>
#include <string.h>

/* In double quotes, which is right for every text in YAML; ours are printable ASCII. */
static void print_quoted(const char *text, FILE *out)
{
	(void)fputc('"', out);
	for (; *text != '\0'; text++) {
		if (*text == '"' || *text == '\\')
			(void)fputc('\\', out);
		(void)fputc(*text, out);
	}
	(void)fputc('"', out);
}

static void print_devices(const struct config_devices *devices, FILE *out)
{
	if (!devices->names) {
		(void)fputs("auto", out);
		return;
	}
	for (size_t i = 0; i < devices->count; i++) {
		(void)fputs(i > 0 ? ", " : "[", out);
		print_quoted(devices->names[i], out);
	}
	(void)fputc(']', out);
}

static void print_prefixes(const struct config_prefixes *prefixes, FILE *out)
{
	char text[PREFIX_TEXT_BYTES];

	(void)fputc('[', out);
	for (size_t i = 0; i < prefixes->count; i++)
		(void)fprintf(out, "%s\"%s\"", i > 0 ? ", " : "", prefix_print(&prefixes->items[i], text));
	(void)fputc(']', out);
}

static void print_excludes(const struct config_excludes *excludes, FILE *out)
{
	char text[PREFIX_TEXT_BYTES];

	(void)fputc('[', out);
	for (size_t i = 0; i < excludes->count; i++) {
		const struct config_exclude *e = &excludes->items[i];

		if (e->is_port)
			(void)snprintf(text, sizeof(text), "tcp/%u", (unsigned)e->port);
		else
			prefix_print(&e->prefix, text);
		(void)fprintf(out, "%s\"%s\"", i > 0 ? ", " : "", text);
	}
	(void)fputc(']', out);
}

static void print_value(const struct config_key *k, const struct config *c, FILE *out)
{
	const void *at = (const char *)c + k->offset;
	const struct config_listen *listen;
	char text[ENDPOINT_TEXT_BYTES];

	switch (k->kind) {
	case CONFIG_IS_NODE:
	case CONFIG_IS_RUNTIME:
	case CONFIG_IS_PATH:
	case CONFIG_IS_NAME:
	case CONFIG_IS_SIGNER:
	case CONFIG_IS_TEXT:
		print_quoted(at, out);
		break;
	case CONFIG_IS_NUMBER:
		(void)fprintf(out, "%" PRIu32, *(const uint32_t *)at);
		break;
	case CONFIG_IS_DURATION:
		(void)fputs(config_print_measure(*(const uint64_t *)at, config_durations, text), out);
		break;
	case CONFIG_IS_SIZE:
		(void)fputs(config_print_measure(*(const uint64_t *)at, config_sizes, text), out);
		break;
	case CONFIG_IS_CHOICE:
		for (const struct config_choice *choice = k->choices; choice->text; choice++) {
			if (choice->value == *(const int *)at)
				(void)fputs(choice->text, out);
		}
		break;
	case CONFIG_IS_DEVICES:
		print_devices(at, out);
		break;
	case CONFIG_IS_PREFIXES:
		print_prefixes(at, out);
		break;
	case CONFIG_IS_EXCLUDES:
		print_excludes(at, out);
		break;
	case CONFIG_IS_LISTEN:
		listen = at;
		(void)fprintf(out, "\"%s\"", listen->is_on ? endpoint_print(&listen->endpoint, text) : "");
		break;
	case CONFIG_IS_MAP:
		break;
	}
}

/* Of the two sources of nodes the other. */
static bool is_left_out(const struct config_key *k, const struct config *c)
{
	bool is_kubernetes = k->kind == CONFIG_IS_MAP || strcmp(k->section, CONFIG_KUBERNETES) == 0;

	return c->nodes.is_kubernetes ? strcmp(k->section, "nodes") == 0 && k->kind == CONFIG_IS_PATH : is_kubernetes;
}

void config_print(const struct config *c, FILE *out)
{
	const char *section = "";

	for (size_t i = 0; i < config_keys_count; i++) {
		const struct config_key *k = &config_keys[i];
		bool is_inner = strchr(k->section, '.') != NULL;

		if (is_left_out(k, c))
			continue;
		if (strcmp(k->section, section) != 0 && !is_inner)
			(void)fprintf(out, "%s:\n", k->section);
		section = k->section;
		(void)fprintf(out, "%s%s:%s",
		              is_inner           ? "    "
		              : *section != '\0' ? "  "
		                                 : "",
		              k->name, k->kind == CONFIG_IS_MAP ? "" : " ");
		print_value(k, c, out);
		(void)fputc('\n', out);
	}
}

void config_describe(FILE *out)
{
	char name[CONFIG_DOTTED_BYTES], form[CONFIG_FORM_BYTES];

	(void)fputs("| key | value | default | what it does |\n|---|---|---|---|\n", out);
	for (size_t i = 0; i < config_keys_count; i++) {
		const struct config_key *k = &config_keys[i];

		(void)fprintf(out, "| `%s` | %s | ", config_dotted(k, name), config_form(k, form));
		if (k->standard)
			(void)fprintf(out, "`%s`", k->standard);
		else if (strcmp(k->section, "nodes") == 0)
			(void)fputs("one of the two must be given", out);
		else
			(void)fputs("must be given", out);
		(void)fprintf(out, " | %s |\n", k->about);
	}
}
