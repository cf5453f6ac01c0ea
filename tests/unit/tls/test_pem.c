/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tls/pem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HELLO "-----BEGIN HELLO-----\naGVsbG8=\n-----END HELLO-----\n"

static void expect_fault(const char *text, enum pem_fault fault, unsigned line)
{
	struct pem pem = { 0 };
	unsigned found = 99;

	assert_int_equal(pem_parse(text, strlen(text), &pem, &found), fault);
	assert_int_equal(found, line);
	assert_null(pem.blocks);
	assert_true(strlen(pem_fault_text(fault)) > 5);
}

static void test_blocks_and_what_stands_between(void **state)
{
	static const char text[] = "a comment\r\n" HELLO "\n  # more\n" HELLO "-----BEGIN X Y-----\r\nAA\r\n==\r\n-----END X Y-----";
	struct pem pem;
	unsigned line;

	(void)state;
	assert_int_equal(pem_parse(text, strlen(text), &pem, &line), PEM_OK);
	assert_int_equal(pem.count, 3);
	assert_string_equal(pem.blocks[0].label, "HELLO");
	assert_int_equal(pem.blocks[0].line, 2);
	assert_int_equal(pem.blocks[0].len_bytes, 5);
	assert_memory_equal(pem.blocks[0].der, "hello", 5);
	assert_int_equal(pem.blocks[1].line, 7);
	assert_string_equal(pem.blocks[2].label, "X Y");
	assert_int_equal(pem.blocks[2].len_bytes, 1);
	pem_done(&pem);
	assert_null(pem.blocks);
	pem_done(&pem);
}

static void test_faults(void **state)
{
	(void)state;
	expect_fault("", PEM_EMPTY, 0);
	expect_fault(" \n\t\r\n", PEM_EMPTY, 0);
	expect_fault("hello\n", PEM_NO_BLOCK, 0);
	expect_fault("-----BEGIN HELLO\n", PEM_NO_BLOCK, 0);
	expect_fault("-----BEGIN A-----\naGVsbG8=\n", PEM_CUT, 1);
	expect_fault(HELLO "-----BEGIN A-----\n", PEM_CUT, 4);
	expect_fault("-----BEGIN A-----\naGVsbG8=\n-----BEGIN A-----\naGVsbG8=\n-----END A-----\n", PEM_CUT, 1);
	expect_fault("-----BEGIN A-----\naGVsbG8=\n-----END B-----\n", PEM_MISMATCH, 3);
	expect_fault("-----BEGIN A-----\n-----END A-----\n", PEM_BASE64, 1);
	expect_fault("-----BEGIN A-----\n\n-----END A-----\n", PEM_BASE64, 1);
	expect_fault("-----BEGIN A-----\na*b=\n-----END A-----\n", PEM_BASE64, 1);
	expect_fault("-----BEGIN A-----\nProc-Type: 4,ENCRYPTED\n\naGVsbG8=\n-----END A-----\n", PEM_BASE64, 1);
}

static void test_too_many(void **state)
{
	char *text = malloc((PEM_BLOCKS_MAX + 1) * sizeof(HELLO)), *at = text;
	struct pem pem;
	unsigned line;

	(void)state;
	for (int i = 0; i < PEM_BLOCKS_MAX; i++)
		at = stpcpy(at, HELLO);
	assert_int_equal(pem_parse(text, strlen(text), &pem, &line), PEM_OK);
	assert_int_equal(pem.count, PEM_BLOCKS_MAX);
	pem_done(&pem);
	stpcpy(at, HELLO);
	expect_fault(text, PEM_TOO_MANY, 3 * PEM_BLOCKS_MAX + 1);
	free(text);
}

static void test_a_label_without_end_is_cut(void **state)
{
	static const char text[] =
		"-----BEGIN 0123456789012345678901234567890123456789-----\nAA==\n-----END 0123456789012345678901234567890123456789-----\n";
	struct pem pem;
	unsigned line;

	(void)state;
	assert_int_equal(pem_parse(text, strlen(text), &pem, &line), PEM_OK);
	assert_int_equal(strlen(pem.blocks[0].label), PEM_LABEL_BYTES - 1);
	pem_done(&pem);
}

static void test_there_and_back(void **state)
{
	uint8_t bytes[300];
	struct pem_text text = { 0 };
	struct pem pem;
	unsigned line;

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 37);
	for (size_t n = 1; n <= sizeof(bytes); n += 23)
		assert_int_equal(pem_append(&text, "SOME BYTES", bytes, n), 0);
	assert_int_equal(strlen(text.text), text.len_bytes);
	assert_int_equal(pem_parse(text.text, text.len_bytes, &pem, &line), PEM_OK);
	assert_int_equal(pem.count, 14);
	for (size_t i = 0; i < pem.count; i++) {
		assert_string_equal(pem.blocks[i].label, "SOME BYTES");
		assert_int_equal(pem.blocks[i].len_bytes, 1 + 23 * i);
		assert_memory_equal(pem.blocks[i].der, bytes, pem.blocks[i].len_bytes);
	}
	pem_done(&pem);
	pem_free(&text);
	assert_null(text.text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_blocks_and_what_stands_between),
		cmocka_unit_test(test_faults),
		cmocka_unit_test(test_too_many),
		cmocka_unit_test(test_a_label_without_end_is_cut),
		cmocka_unit_test(test_there_and_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
