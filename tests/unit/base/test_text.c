/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/text.h"

#include <errno.h>
#include <string.h>

static void foreign_text_is_made_safe(void **state)
{
	char quoted[TEXT_QUOTE_BYTES], text[2 * TEXT_QUOTE_BYTES];

	(void)state;
	assert_string_equal(text_quote("node1", quoted), "\"node1\"");
	assert_string_equal(text_quote("", quoted), "\"\"");
	assert_string_equal(text_quote("a\x1b[1m\n\xff", quoted), "\"a\\x1b[1m\\x0a\\xff\"");
	memset(text, 1, sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	text_quote(text, quoted);
	assert_int_equal(strlen(quoted), TEXT_QUOTE_BYTES - 1);
	assert_string_equal(quoted + strlen(quoted) - 4, "...\"");
}

static void numbers_are_digits_only(void **state)
{
	static const char *const bad[] = { "", " 1", "1 ", "+1", "-1", "0x10", "1.5", "1e3", "99999999999999999999x" };
	uint64_t value = 5;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(text_parse_u64(bad[i], &value), -EINVAL);
	assert_int_equal(text_parse_u64("18446744073709551616", &value), -ERANGE);
	assert_int_equal(value, 5);
	assert_int_equal(text_parse_u64("18446744073709551615", &value), 0);
	assert_true(value == UINT64_MAX);
	assert_int_equal(text_parse_u64("007", &value), 0);
	assert_int_equal(value, 7);
}

static void subdomains_are_told(void **state)
{
	static const char *const good[] = { "a", "node1", "node-1.example.org", "0" };
	static const char *const bad[] = { "", "Node1", "node_1", "-a", "a-", ".a", "a.", "a..b", "a.-b", "a-.b", "a b", "a/b" };
	char text[255];

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(text_is_subdomain(good[i]));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(text_is_subdomain(bad[i]));
	memset(text, 'a', sizeof(text));
	text[254] = '\0';
	assert_false(text_is_subdomain(text));
	text[253] = '\0';
	assert_true(text_is_subdomain(text));
}

static void distances_count_slips(void **state)
{
	char longer[80];

	(void)state;
	assert_int_equal(text_distance("port", "port"), 0);
	assert_int_equal(text_distance("prot", "port"), 1);
	assert_int_equal(text_distance("pot", "port"), 1);
	assert_int_equal(text_distance("ports", "port"), 1);
	assert_int_equal(text_distance("", "port"), 4);
	assert_int_equal(text_distance("kitten", "sitting"), 3);
	memset(longer, 'a', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	assert_int_equal(text_distance(longer, longer), 79);
}

static void the_word_that_was_meant_is_found(void **state)
{
	static const char *const words[] = { "port", "workers", "peer_timeout" };

	(void)state;
	assert_string_equal(text_nearest("prot", words, 3), "port");
	assert_string_equal(text_nearest("worker", words, 3), "workers");
	assert_string_equal(text_nearest("peertimeout", words, 3), "peer_timeout");
	assert_null(text_nearest("memory", words, 3));
	assert_null(text_nearest("port", words, 0));
}

static void signers(void **state)
{
	static const char *const good[] = { "culvert.dev/node", "a.b/c", "x.example.org/a.b-c" };
	static const char *const bad[] = { "",
		                           "culvert.dev",
		                           "node",
		                           "culvert/node",
		                           "culvert.dev/",
		                           "/node",
		                           "Culvert.dev/node",
		                           "culvert.dev/a/b",
		                           "culvert.dev/ node" };

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(text_is_signer(good[i]));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(text_is_signer(bad[i]));
}

static void parts_of_urls(void **state)
{
	char text[16], all[64];

	(void)state;
	text_percent("a-Z_0.9~", text, sizeof(text));
	assert_string_equal(text, "a-Z_0.9~");
	text_percent("a/b?c#d %&=\xc3\xb6", all, sizeof(all));
	assert_string_equal(all, "a%2Fb%3Fc%23d%20%25%26%3D%C3%B6");
	text_percent("????????", text, sizeof(text));
	assert_string_equal(text, "%3F%3F%3F%3F%3F");
	text_percent("", text, sizeof(text));
	assert_string_equal(text, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(signers),
		cmocka_unit_test(parts_of_urls),
		cmocka_unit_test(foreign_text_is_made_safe),
		cmocka_unit_test(numbers_are_digits_only),
		cmocka_unit_test(subdomains_are_told),
		cmocka_unit_test(distances_count_slips),
		cmocka_unit_test(the_word_that_was_meant_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
