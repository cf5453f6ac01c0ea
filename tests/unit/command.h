/* SPDX-License-Identifier: GPL-3.0-or-later */
/* command.h - what another program says of the files that a test made. Include it behind cmocka.h. */
#ifndef CULVERT_TESTS_COMMAND_H
#define CULVERT_TESTS_COMMAND_H

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* The command's output, until the next call; it must succeed. */
__attribute__((format(printf, 1, 2))) static inline const char *command_output(const char *format, ...)
{
	static char text[32 << 10];
	char command[2048];
	va_list args;
	size_t n;
	FILE *f;

	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	f = popen(command, "re");
	assert_non_null(f);
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = '\0';
	if (pclose(f))
		fail_msg("%s: %s", command, text);
	return text;
}

static inline void expect_in(const char *text, const char *wanted)
{
	if (!strstr(text, wanted))
		fail_msg("\"%s\" is not in: %s", wanted, text);
}

#endif
