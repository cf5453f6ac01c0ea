/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The settings: what is taken must print as a file that reads back to the same; what is refused must have a sentence of printable bytes. */
#include "target.h"

#include "base/config.h"

#include <stdlib.h>
#include <string.h>

static char *print(const struct config *c)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		abort();
	config_print(c, out);
	if (fclose(out) != 0)
		abort();
	return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len_bytes)
{
	char error[CONFIG_ERROR_BYTES] = "", *first, *second;
	struct config c, again;

	if (config_parse("fuzz", (const char *)bytes, len_bytes, NULL, &c, error) != 0) {
		if (strncmp(error, "fuzz:", 5) != 0 || strlen(error) < 10)
			abort();
		for (const char *p = error; *p != '\0'; p++) {
			if (*p < ' ' || *p >= 0x7f)
				abort();
		}
		return 0;
	}
	first = print(&c);
	if (config_parse("fuzz", first, strlen(first), NULL, &again, error) != 0)
		abort();
	second = print(&again);
	if (strcmp(first, second) != 0)
		abort();
	free(first);
	free(second);
	config_done(&c);
	config_done(&again);
	return 0;
}
