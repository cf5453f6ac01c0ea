/* SPDX-License-Identifier: GPL-3.0-or-later */
/* JSON that is put together: escapes, base64 of each length, and growing. */
#include "base/base64.h"
#include "kube/body.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void test_texts(void **state)
{
	struct body b = { 0 };

	(void)state;
	body_put(&b, "{\"a\":");
	body_put_text(&b, "say \"hi\"\\\n\x01\x7f\xc3\xa4");
	body_put(&b, "}");
	assert_false(b.is_broken);
	assert_string_equal(b.text, "{\"a\":\"say \\\"hi\\\"\\\\\\u000a\\u0001\\u007f??\"}");
	assert_int_equal(b.len_bytes, strlen(b.text));
	body_done(&b);
	assert_null(b.text);
}

/* RFC 4648, 10. */
static void test_base64(void **state)
{
	static const char *const texts[][2] = {
		{ "", "\"\"" },
		{ "f", "\"Zg==\"" },
		{ "fo", "\"Zm8=\"" },
		{ "foo", "\"Zm9v\"" },
		{ "foob", "\"Zm9vYg==\"" },
		{ "fooba", "\"Zm9vYmE=\"" },
		{ "foobar", "\"Zm9vYmFy\"" },
		{ "\xff\xfe\xfd", "\"//79\"" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct body b = { 0 };

		body_put_base64(&b, texts[i][0], strlen(texts[i][0]));
		assert_string_equal(b.text, texts[i][1]);
		body_done(&b);
	}
}

/* In pieces as well as at once. */
static void test_long_base64(void **state)
{
	char bytes[2000], text[BASE64_TEXT_BYTES(sizeof(bytes))];
	struct body b = { 0 };

	(void)state;
	memset(bytes, 'x', sizeof(bytes));
	base64_encode(bytes, sizeof(bytes), text);
	body_put_base64(&b, bytes, sizeof(bytes));
	assert_int_equal(b.len_bytes, strlen(text) + 2);
	assert_memory_equal(b.text + 1, text, strlen(text));
	body_done(&b);
}

static void test_growth(void **state)
{
	struct body b = { 0 };

	(void)state;
	for (int i = 0; i < 10000; i++)
		body_put(&b, "0123456789");
	assert_int_equal(b.len_bytes, 100000);
	assert_false(b.is_broken);
	for (size_t i = 0; i < b.len_bytes; i++)
		assert_int_equal(b.text[i], '0' + i % 10);
	body_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_texts), cmocka_unit_test(test_base64), cmocka_unit_test(test_long_base64),
		                            cmocka_unit_test(test_growth) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
