/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ctl/json.c"
#include "ctl/text.c"
#include "printed.h"
#include "status.pb-c.h"

#include <string.h>

static void texts_are_escaped(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{ "", "\"\"" },
		{ "plain", "\"plain\"" },
		{ "say \"no\" \\ yes", "\"say \\\"no\\\" \\\\ yes\"" },
		{ "a\nb\tc\rd", "\"a\\nb\\tc\\u000dd\"" },
		{ "\x01\x1b\x7f", "\"\\u0001\\u001b\\u007f\"" },
		{ "M\xc3\xbcller \xf0\x9f\x98\x80", "\"M\xc3\xbcller \xf0\x9f\x98\x80\"" },
		{ "bad \xff\xc0\xaf", "\"bad \\ufffd\\ufffd\\ufffd\"" },
		{ "cut \xe2\x82", "\"cut \\ufffd\\ufffd\"" },
		{ "</script>", "\"</script>\"" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *text;

		PRINTED(text, out, json_print_text(out, cases[i].in));
		assert_string_equal(text, cases[i].out);
		free(text);
	}
}

static void every_field_is_there(void **state)
{
	Culvert__Status__Counter counter = CULVERT__STATUS__COUNTER__INIT;
	char *text;

	(void)state;
	counter.name = (char *)(uintptr_t) "tunnel";
	counter.is_clear = true;
	counter.bytes = UINT64_MAX;
	PRINTED(text, out, json_print(out, &counter.base));
	assert_string_equal(text, "{\n"
	                          "  \"name\": \"tunnel\",\n"
	                          "  \"is_ingress\": false,\n"
	                          "  \"is_clear\": true,\n"
	                          "  \"is_refused\": false,\n"
	                          "  \"packets\": 0,\n"
	                          "  \"bytes\": 18446744073709551615\n"
	                          "}\n");
	free(text);
}

static void lists_and_messages_in_messages(void **state)
{
	Culvert__Status__Ended ended[2] = { CULVERT__STATUS__ENDED__INIT, CULVERT__STATUS__ENDED__INIT };
	Culvert__Status__Ended *list[2] = { &ended[0], &ended[1] };
	Culvert__Status__Memory memory = CULVERT__STATUS__MEMORY__INIT;
	Culvert__Status__Status s = CULVERT__STATUS__STATUS__INIT;
	char *text;

	(void)state;
	s.incarnation = UINT64_C(0xfedcba9876543210);
	s.certificate_not_after_s = -5;
	s.memory = &memory;
	memory.budget_bytes = 7;
	ended[0].reason = (char *)(uintptr_t) "finished";
	ended[1].streams = 3;
	s.ended = list;
	s.n_ended = 2;
	PRINTED(text, out, json_print(out, &s.base));
	assert_non_null(strstr(text, "\n  \"incarnation\": \"fedcba9876543210\","));
	assert_non_null(strstr(text, "\n  \"certificate_not_after_s\": -5,\n"));
	assert_non_null(strstr(text, "\n  \"pods\": 0,\n"));
	assert_non_null(strstr(text, "\n  \"metrics_listen\": \"\""));
	assert_non_null(strstr(text, "\n  \"cluster\": null,\n  \"full_workers\": [],\n  \"workers_busy_ms\": 0\n}\n"));
	assert_non_null(
		strstr(text, "\n  \"memory\": {\n    \"budget_bytes\": 7,\n    \"granted_bytes\": 0,\n    \"buffered_bytes\": 0\n  },"));
	assert_non_null(strstr(text, "\n  \"ended\": [\n    {\n      \"reason\": \"finished\",\n      \"streams\": 0\n    },\n"
	                             "    {\n      \"reason\": \"\",\n      \"streams\": 3\n    }\n  ],"));
	assert_non_null(strstr(text, "\n  \"devices\": [],"));
	free(text);
	s.memory = NULL;
	PRINTED(text, out, json_print(out, &s.base));
	assert_non_null(strstr(text, "\n  \"memory\": null,"));
	free(text);
}

static void texts_in_lists_and_bytes(void **state)
{
	Culvert__Status__Certificates c = CULVERT__STATUS__CERTIFICATES__INIT;
	uint8_t digest[3] = { 0x00, 0xab, 0xff };
	char *names[2] = { (char *)(uintptr_t) "URI:a", (char *)(uintptr_t) "DNS:\"b\"" };
	char *text;

	(void)state;
	c.names = names;
	c.n_names = 2;
	c.sha256 = (ProtobufCBinaryData){ .len = 3, .data = digest };
	PRINTED(text, out, json_print(out, &c.base));
	assert_non_null(strstr(text, "{\n  \"names\": [\n    \"URI:a\",\n    \"DNS:\\\"b\\\"\"\n  ],"));
	assert_non_null(strstr(text, "\"sha256\": \"00abff\","));
	free(text);
}

static void of_a_oneof_only_what_is_set(void **state)
{
	Culvert__Status__Response r = CULVERT__STATUS__RESPONSE__INIT;
	Culvert__Status__Error error = CULVERT__STATUS__ERROR__INIT;
	char *text;

	(void)state;
	PRINTED(text, out, json_print(out, &r.base));
	assert_string_equal(text, "{}\n");
	free(text);
	r.what_case = CULVERT__STATUS__RESPONSE__WHAT_ERROR;
	r.error = &error;
	error.code = (char *)(uintptr_t) "busy";
	PRINTED(text, out, json_print(out, &r.base));
	assert_string_equal(text, "{\n  \"error\": {\n    \"code\": \"busy\",\n    \"text\": \"\"\n  }\n}\n");
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(texts_are_escaped),
		cmocka_unit_test(every_field_is_there),
		cmocka_unit_test(lists_and_messages_in_messages),
		cmocka_unit_test(texts_in_lists_and_bytes),
		cmocka_unit_test(of_a_oneof_only_what_is_set),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
