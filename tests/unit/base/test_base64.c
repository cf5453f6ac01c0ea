/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/base64.h"

#include <errno.h>
#include <string.h>

/* RFC 4648, section 10. */
static const struct {
	const char *bytes, *text;
} vectors[] = {
	{ "", "" },
	{ "f", "Zg==" },
	{ "fo", "Zm8=" },
	{ "foo", "Zm9v" },
	{ "foob", "Zm9vYg==" },
	{ "fooba", "Zm9vYmE=" },
	{ "foobar", "Zm9vYmFy" },
};

static void test_vectors(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		char text[BASE64_TEXT_BYTES(6)];
		uint8_t bytes[BASE64_BYTES_BYTES(8)];
		size_t len;

		assert_int_equal(base64_encode(vectors[i].bytes, strlen(vectors[i].bytes), text), strlen(vectors[i].text));
		assert_string_equal(text, vectors[i].text);
		assert_int_equal(base64_decode(vectors[i].text, strlen(vectors[i].text), bytes, &len), 0);
		assert_int_equal(len, strlen(vectors[i].bytes));
		assert_string_equal((char *)bytes, vectors[i].bytes);
	}
}

static void test_all_bytes_there_and_back(void **state)
{
	uint8_t bytes[256], back[BASE64_BYTES_BYTES(BASE64_TEXT_BYTES(256))];
	char text[BASE64_TEXT_BYTES(256)];
	size_t len;

	(void)state;
	for (unsigned i = 0; i < 256; i++)
		bytes[i] = (uint8_t)i;
	for (size_t n = 250; n <= 256; n++) {
		size_t text_len = base64_encode(bytes, n, text);

		assert_int_equal(base64_decode(text, text_len, back, &len), 0);
		assert_int_equal(len, n);
		assert_memory_equal(back, bytes, n);
	}
}

static void test_lines_are_joined(void **state)
{
	uint8_t bytes[32];
	size_t len;

	(void)state;
	assert_int_equal(base64_decode("Zm9v\nYm\r\nFy\n", 12, bytes, &len), 0);
	assert_int_equal(len, 6);
}

static void test_what_is_no_base64_is_refused(void **state)
{
	static const char *const bad[] = { "Z", "Zg", "Zg=", "Zm9v=", "Z===", "Zg==Zg==", "Zm9-", "Zm9v!", "====" };
	uint8_t bytes[32];
	size_t len = 77;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(base64_decode(bad[i], strlen(bad[i]), bytes, &len), -EINVAL);
	assert_int_equal(base64_decode("Zm9\0", 4, bytes, &len), -EINVAL);
	assert_int_equal(len, 77);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_all_bytes_there_and_back),
		cmocka_unit_test(test_lines_are_joined),
		cmocka_unit_test(test_what_is_no_base64_is_refused),
	};

	return cmocka_run_group_tests_name("base64", tests, NULL, NULL);
}
