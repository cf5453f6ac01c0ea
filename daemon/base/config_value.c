/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/config_value.h"

#include "base/text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int config_fault(const struct config_reading *r, unsigned line, const char *format, ...)
{
	int len = line > 0 ? snprintf(r->error, CONFIG_ERROR_BYTES, "%s:%u: ", r->path, line)
	                   : snprintf(r->error, CONFIG_ERROR_BYTES, "%s: ", r->path);
	va_list args;

	if (len >= 0 && len < CONFIG_ERROR_BYTES) {
		va_start(args, format);
		(void)vsnprintf(r->error + len, (size_t)(CONFIG_ERROR_BYTES - len), format, args);
		va_end(args);
	}
	return -EINVAL;
}

static int out_of_memory(const struct config_reading *r)
{
	(void)snprintf(r->error, CONFIG_ERROR_BYTES, "%s: out of memory", r->path);
	return -ENOMEM;
}

/* "FILE:LINE: tunnel.port: "x" is no number; a number from 1 to 65535 would be right" */
static int bad_value(const struct config_reading *r, const struct config_key *k, const struct tree_node *n, const char *what)
{
	char name[CONFIG_DOTTED_BYTES], form[CONFIG_FORM_BYTES], quoted[TEXT_QUOTE_BYTES];

	if (n->kind != TREE_TEXT)
		return config_fault(r, n->line, "%s: is %s; %s would be right", config_dotted(k, name), tree_kind_text(n->kind),
		                    config_form(k, form));
	if (tree_is_nothing(n))
		return config_fault(r, n->line, "%s: has no value; %s would be right", config_dotted(k, name), config_form(k, form));
	return config_fault(r, n->line, "%s: %s %s; %s would be right", config_dotted(k, name), text_quote(n->text, quoted), what,
	                    config_form(k, form));
}

/* Nothing else comes back from every terminal and every YAML reader as it was. */
static bool is_plain_ascii(const char *text)
{
	while (*text >= ' ' && *text < 0x7f)
		text++;
	return *text == '\0';
}

/* The last part of a path names a folder in the bpffs too, and there no name may hold a dot. */
static bool is_runtime_path(const char *text)
{
	const char *last = strrchr(text, '/') + 1;

	if (*last == '\0')
		return false;
	for (; *last != '\0'; last++) {
		if (!((*last >= 'a' && *last <= 'z') || (*last >= 'A' && *last <= 'Z') || (*last >= '0' && *last <= '9') || *last == '-' ||
		      *last == '_'))
			return false;
	}
	return true;
}

static int take_text(const struct config_reading *r, const struct config_key *k, const struct tree_node *n, char *at)
{
	bool is_path = k->kind == CONFIG_IS_PATH || k->kind == CONFIG_IS_RUNTIME;
	size_t len;

	if (n->kind != TREE_TEXT || tree_is_nothing(n))
		return bad_value(r, k, n, "is empty");
	if (n->text[0] == '\0') {
		if (!k->may_be_empty)
			return bad_value(r, k, n, "is empty");
		at[0] = '\0';
		return 0;
	}
	len = strlen(n->text);
	if (len >= k->cap_bytes)
		return bad_value(r, k, n, "is too long");
	if (!is_plain_ascii(n->text))
		return bad_value(r, k, n, "has a byte that is not printable ASCII");
	if (is_path && n->text[0] != '/')
		return bad_value(r, k, n, "is no absolute path");
	if (k->kind == CONFIG_IS_RUNTIME && !is_runtime_path(n->text))
		return bad_value(r, k, n, "has another last part than can be named in the kernel's bpffs");
	if (k->kind == CONFIG_IS_NODE && !text_is_subdomain(n->text))
		return bad_value(r, k, n, "is no node's name");
	if (k->kind == CONFIG_IS_NAME && !text_is_subdomain(n->text))
		return bad_value(r, k, n, "is no name in Kubernetes");
	if (k->kind == CONFIG_IS_SIGNER && !text_is_signer(n->text))
		return bad_value(r, k, n, "is no signer's name");
	memcpy(at, n->text, len + 1);
	return 0;
}

static int take_number(const struct config_reading *r, const struct config_key *k, const struct tree_node *n, uint32_t *at)
{
	uint64_t value = 0;
	int rc;

	if (n->kind != TREE_TEXT || tree_is_nothing(n))
		return bad_value(r, k, n, "");
	rc = text_parse_u64(n->text, &value);
	if (rc == -EINVAL)
		return bad_value(r, k, n, "is no number");
	if (rc < 0 || value < k->min || value > k->max)
		return bad_value(r, k, n, "is out of range");
	*at = (uint32_t)value;
	return 0;
}

/* A number with a unit behind it. */
static int take_measure(const struct config_reading *r, const struct config_key *k, const struct tree_node *n,
                        const struct config_unit *units, const char *no_such, uint64_t *at)
{
	char digits[24];
	const struct config_unit *u = units;
	uint64_t value;
	size_t len;

	if (n->kind != TREE_TEXT || tree_is_nothing(n))
		return bad_value(r, k, n, "");
	len = strspn(n->text, "0123456789");
	if (len == 0)
		return bad_value(r, k, n, no_such);
	while (u->text && strcmp(u->text, n->text + len) != 0)
		u++;
	if (!u->text)
		return bad_value(r, k, n, n->text[len] == '\0' ? "has no unit" : "has a unit that is not known");
	if (len >= sizeof(digits))
		return bad_value(r, k, n, "is out of range");
	memcpy(digits, n->text, len);
	digits[len] = '\0';
	if (text_parse_u64(digits, &value) < 0 || __builtin_mul_overflow(value, u->factor, &value) || value < k->min || value > k->max)
		return bad_value(r, k, n, "is out of range");
	*at = value;
	return 0;
}

static int take_choice(const struct config_reading *r, const struct config_key *k, const struct tree_node *n, int *at)
{
	if (n->kind != TREE_TEXT || tree_is_nothing(n))
		return bad_value(r, k, n, "");
	for (const struct config_choice *c = k->choices; c->text; c++) {
		if (strcmp(c->text, n->text) != 0)
			continue;
		*at = c->value;
		return 0;
	}
	return bad_value(r, k, n, "is not known");
}

static int check_list(const struct config_reading *r, const struct config_key *k, const struct tree_node *n)
{
	char name[CONFIG_DOTTED_BYTES];

	if (n->kind != TREE_LIST)
		return bad_value(r, k, n, "is a text");
	if (n->count > CONFIG_LIST_MAX)
		return config_fault(r, n->line, "%s: %zu entries; at most %d would be right", config_dotted(k, name), n->count,
		                    CONFIG_LIST_MAX);
	for (const struct tree_node *item = n->first; item; item = item->next) {
		if (item->kind != TREE_TEXT)
			return config_fault(r, item->line, "%s: an entry is %s; a text would be right", config_dotted(k, name),
			                    tree_kind_text(item->kind));
		if (tree_is_nothing(item))
			return config_fault(r, item->line, "%s: an entry has nothing in it", config_dotted(k, name));
	}
	return 0;
}

static bool is_device_name(const char *text)
{
	size_t len = strlen(text);

	if (len == 0 || len >= CONFIG_DEVICE_BYTES || strcmp(text, ".") == 0 || strcmp(text, "..") == 0)
		return false;
	for (; *text != '\0'; text++) {
		if (*text <= ' ' || *text >= 0x7f || *text == '/' || *text == ':')
			return false;
	}
	return true;
}

static int take_devices(const struct config_reading *r, const struct config_key *k, const struct tree_node *n, struct config_devices *at)
{
	char name[CONFIG_DOTTED_BYTES], quoted[TEXT_QUOTE_BYTES];
	int rc;

	if (n->kind == TREE_TEXT && strcmp(n->text, "auto") == 0)
		return 0;
	rc = check_list(r, k, n);
	if (rc < 0)
		return rc;
	if (n->count == 0)
		return config_fault(r, n->line, "%s: the list is empty; auto, or at least one device, would be right",
		                    config_dotted(k, name));
	at->names = calloc(n->count, sizeof(*at->names));
	if (!at->names)
		return out_of_memory(r);
	for (const struct tree_node *item = n->first; item; item = item->next) {
		if (!is_device_name(item->text))
			return config_fault(r, item->line,
			                    "%s: %s is no device's name; 1 to %d bytes without spaces, / and : would be right",
			                    config_dotted(k, name), text_quote(item->text, quoted), CONFIG_DEVICE_BYTES - 1);
		for (size_t i = 0; i < at->count; i++) {
			if (strcmp(at->names[i], item->text) == 0)
				return config_fault(r, item->line, "%s: %s is there twice", config_dotted(k, name),
				                    text_quote(item->text, quoted));
		}
		at->names[at->count] = strdup(item->text);
		if (!at->names[at->count])
			return out_of_memory(r);
		at->count++;
	}
	return 0;
}

static int take_prefix(const struct config_reading *r, const struct config_key *k, const struct tree_node *item, struct prefix *ret)
{
	char name[CONFIG_DOTTED_BYTES], quoted[TEXT_QUOTE_BYTES], why[PREFIX_FAULT_BYTES];
	int rc = prefix_parse(item->text, ret);

	if (rc < 0)
		return config_fault(r, item->line, "%s: %s %s", config_dotted(k, name), text_quote(item->text, quoted),
		                    prefix_fault(rc, ret, why));
	return 0;
}

static int take_prefixes(const struct config_reading *r, const struct config_key *k, const struct tree_node *n, struct config_prefixes *at)
{
	int rc = check_list(r, k, n);

	if (rc < 0 || n->count == 0)
		return rc;
	at->items = calloc(n->count, sizeof(*at->items));
	if (!at->items)
		return out_of_memory(r);
	for (const struct tree_node *item = n->first; item && rc == 0; item = item->next)
		rc = take_prefix(r, k, item, &at->items[at->count++]);
	return rc;
}

static int take_exclude(const struct config_reading *r, const struct config_key *k, const struct tree_node *item,
                        struct config_exclude *ret)
{
	char name[CONFIG_DOTTED_BYTES], quoted[TEXT_QUOTE_BYTES];
	const char *slash = strchr(item->text, '/');
	uint64_t port;

	if (!strpbrk(item->text, ".:") && (!slash || item->text[0] < 'a' || item->text[0] > 'z'))
		return config_fault(r, item->line, "%s: %s is neither a prefix nor a port; 10.1.0.0/16 or tcp/9100 would be right",
		                    config_dotted(k, name), text_quote(item->text, quoted));
	if (strpbrk(item->text, ".:"))
		return take_prefix(r, k, item, &ret->prefix);
	if (strncmp(item->text, "tcp/", 4) != 0)
		return config_fault(r, item->line,
		                    "%s: %s: only TCP is captured, so there is nothing else to leave alone; tcp/9100 would be right",
		                    config_dotted(k, name), text_quote(item->text, quoted));
	if (text_parse_u64(slash + 1, &port) < 0 || port == 0 || port > UINT16_MAX)
		return config_fault(r, item->line, "%s: %s has no port; tcp/ and a number from 1 to 65535 would be right",
		                    config_dotted(k, name), text_quote(item->text, quoted));
	ret->is_port = true;
	ret->port = (uint16_t)port;
	return 0;
}

static int take_excludes(const struct config_reading *r, const struct config_key *k, const struct tree_node *n, struct config_excludes *at)
{
	int rc = check_list(r, k, n);

	if (rc < 0 || n->count == 0)
		return rc;
	at->items = calloc(n->count, sizeof(*at->items));
	if (!at->items)
		return out_of_memory(r);
	for (const struct tree_node *item = n->first; item && rc == 0; item = item->next)
		rc = take_exclude(r, k, item, &at->items[at->count++]);
	return rc;
}

static int take_listen(const struct config_reading *r, const struct config_key *k, const struct tree_node *n, struct config_listen *at)
{
	if (n->kind != TREE_TEXT || tree_is_nothing(n))
		return bad_value(r, k, n, "");
	if (n->text[0] == '\0') {
		at->is_on = false;
		return 0;
	}
	if (endpoint_parse(n->text, &at->endpoint) < 0)
		return bad_value(r, k, n, "is no address with a port");
	if (at->endpoint.port == 0)
		return bad_value(r, k, n, "has no port that can be found");
	at->is_on = true;
	return 0;
}

int config_take(const struct config_reading *r, const struct config_key *k, const struct tree_node *n)
{
	void *at = (char *)r->config + k->offset;

	switch (k->kind) {
	case CONFIG_IS_NODE:
	case CONFIG_IS_RUNTIME:
	case CONFIG_IS_PATH:
	case CONFIG_IS_NAME:
	case CONFIG_IS_SIGNER:
	case CONFIG_IS_TEXT:
		return take_text(r, k, n, at);
	case CONFIG_IS_NUMBER:
		return take_number(r, k, n, at);
	case CONFIG_IS_DURATION:
		return take_measure(r, k, n, config_durations, "is no duration", at);
	case CONFIG_IS_SIZE:
		return take_measure(r, k, n, config_sizes, "is no size", at);
	case CONFIG_IS_CHOICE:
		return take_choice(r, k, n, at);
	case CONFIG_IS_DEVICES:
		return take_devices(r, k, n, at);
	case CONFIG_IS_PREFIXES:
		return take_prefixes(r, k, n, at);
	case CONFIG_IS_EXCLUDES:
		return take_excludes(r, k, n, at);
	case CONFIG_IS_LISTEN:
		return take_listen(r, k, n, at);
	case CONFIG_IS_MAP:
		*(bool *)at = true;
		return 0;
	}
	return 0;
}
