/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/addr.h"
#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static FILE *captured;
static int real_stderr;

static int set_up(void **state)
{
	(void)state;
	log_set_level(LOG_INFO);
	captured = tmpfile();
	real_stderr = dup(STDERR_FILENO);
	return captured && real_stderr >= 0 && dup2(fileno(captured), STDERR_FILENO) >= 0 ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	(void)dup2(real_stderr, STDERR_FILENO);
	(void)close(real_stderr);
	return fclose(captured);
}

/* All that was logged, without the time in front of its first line. */
static const char *logged(void)
{
	static char text[16384];
	ssize_t len = pread(fileno(captured), text, sizeof(text) - 1, 0);
	const char *after_time;

	assert_true(len >= 0);
	text[len] = '\0';
	if (len == 0)
		return text;
	assert_memory_equal(text, "time=2", 6);
	after_time = strchr(text, ' ');
	assert_non_null(after_time);
	assert_int_equal(after_time - text, strlen("time=2026-01-02T03:04:05.678Z"));
	assert_int_equal(after_time[-1], 'Z');
	return after_time + 1;
}

static void a_line_has_its_fields_in_order(void **state)
{
	struct endpoint e;
	struct addr a;

	(void)state;
	assert_int_equal(addr_parse("fd00::1", &a), 0);
	assert_int_equal(endpoint_parse("10.0.0.1:80", &e), 0);
	log_info("tunnel up", L_TEXT("peer", "node2"), L_U64("streams", 3), L_I64("delta", -3), L_HEX("id", 255), L_ADDR("from", &a),
	         L_ENDPOINT("to", &e), L_ERRNO(-ECONNREFUSED));
	assert_string_equal(logged(), "level=info event=\"tunnel up\" peer=node2 streams=3 delta=-3 id=0xff from=fd00::1 to=10.0.0.1:80 "
	                              "error=\"Connection refused\"\n");
}

static void an_event_alone_is_a_line(void **state)
{
	(void)state;
	log_warn("ready");
	assert_string_equal(logged(), "level=warn event=ready\n");
}

static void outside_bytes_can_not_forge_a_line(void **state)
{
	(void)state;
	log_error("x", L_TEXT("name", "a\nlevel=error \"\\\x1b[0m\xc3\xa4"), L_TEXT("empty", ""), L_TEXT("none", NULL), L_TEXT("dash", "-"),
	          L_TEXT("pair", "a=b"));
	assert_string_equal(
		logged(),
		"level=error event=x name=\"a\\x0alevel=error \\\"\\\\\\x1b[0m\\xc3\\xa4\" empty=\"\" none=- dash=\"-\" pair=\"a=b\"\n");
}

static void a_long_text_is_cut(void **state)
{
	char text[801], expected[900];

	(void)state;
	memset(text, 'a', 800);
	text[800] = '\0';
	log_info("x", L_TEXT("t", text));
	(void)snprintf(expected, sizeof(expected), "level=info event=x t=\"%.768s...\"\n", text);
	assert_string_equal(logged(), expected);
}

static void a_long_line_is_cut_between_fields(void **state)
{
	char text[257];
	const char *line;

	(void)state;
	memset(text, 1, 256);
	text[256] = '\0';
	log_info("x", L_TEXT("a", text), L_TEXT("b", text), L_TEXT("c", text), L_TEXT("d", text), L_TEXT("e", text), L_U64("f", 1));
	line = logged();
	assert_non_null(strstr(line, " c=\"\\x01"));
	assert_null(strstr(line, " e="));
	assert_null(strstr(line, " f="));
	assert_string_equal(line + strlen(line) - strlen("\\x01\" truncated=true\n"), "\\x01\" truncated=true\n");
	assert_true(strlen(line) <= 4096);
}

static void levels_below_the_set_one_are_silent(void **state)
{
	enum log_level level = LOG_WARN;

	(void)state;
	log_debug("no");
	assert_string_equal(logged(), "");
	assert_true(log_level_parse("debug", &level));
	assert_int_equal(level, LOG_DEBUG);
	log_set_level(LOG_DEBUG);
	assert_true(log_enabled(LOG_DEBUG));
	log_debug("yes");
	assert_string_equal(logged(), "level=debug event=yes\n");
	log_set_level(LOG_ERROR);
	assert_false(log_enabled(LOG_WARN));
	assert_false(log_level_parse("loud", &level));
	assert_false(log_level_parse("", &level));
	assert_int_equal(level, LOG_DEBUG);
}

static void errno_survives_a_line(void **state)
{
	(void)state;
	errno = ENOENT;
	log_info("x");
	assert_int_equal(errno, ENOENT);
}

static void an_unknown_error_is_a_number(void **state)
{
	(void)state;
	log_info("x", L_ERRNO(123456));
	assert_string_equal(logged(), "level=info event=x error=\"error 123456\"\n");
}

static void a_limit_counts_what_it_keeps_back(void **state)
{
	struct log_limit l = { .interval_ns = NS_PER_S, .burst = 2 };
	uint32_t suppressed = 9;

	(void)state;
	assert_true(log_limit_allow(&l, 10, &suppressed));
	assert_int_equal(suppressed, 0);
	assert_true(log_limit_allow(&l, 11, &suppressed));
	assert_false(log_limit_allow(&l, 12, &suppressed));
	assert_false(log_limit_allow(&l, 9 + NS_PER_S, &suppressed));
	assert_true(log_limit_allow(&l, 10 + NS_PER_S, &suppressed));
	assert_int_equal(suppressed, 2);
	assert_true(log_limit_allow(&l, 11 + NS_PER_S, &suppressed));
	assert_int_equal(suppressed, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_line_has_its_fields_in_order, set_up, tear_down),
		cmocka_unit_test_setup_teardown(an_event_alone_is_a_line, set_up, tear_down),
		cmocka_unit_test_setup_teardown(outside_bytes_can_not_forge_a_line, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_long_text_is_cut, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_long_line_is_cut_between_fields, set_up, tear_down),
		cmocka_unit_test_setup_teardown(levels_below_the_set_one_are_silent, set_up, tear_down),
		cmocka_unit_test_setup_teardown(errno_survives_a_line, set_up, tear_down),
		cmocka_unit_test_setup_teardown(an_unknown_error_is_a_number, set_up, tear_down),
		cmocka_unit_test(a_limit_counts_what_it_keeps_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
