/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tunnel/queue.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Against a plain array: what comes out is what went in, whatever the sizes. */
static void bytes_come_out_in_order(void **state)
{
	enum { TOTAL = 3 * 1024 * 1024 };
	static uint8_t in[TOTAL], out[TOTAL];
	struct queue q;
	size_t put = 0, taken = 0;

	(void)state;
	srand(7);
	for (size_t i = 0; i < TOTAL; i++)
		in[i] = (uint8_t)rand();
	queue_init(&q);
	while (taken < TOTAL) {
		size_t n = (size_t)rand() % 90000, left;
		struct iovec part[4];
		int parts;

		if (n > TOTAL - put)
			n = TOTAL - put;
		assert_int_equal(queue_append(&q, in + put, n), 0);
		put += n;
		assert_int_equal(q.len_bytes, put - taken);
		parts = queue_peek(&q, part, 4);
		left = q.len_bytes ? (size_t)rand() % q.len_bytes + 1 : 0;
		n = 0;
		for (int i = 0; i < parts && n < left; i++) {
			size_t len = part[i].iov_len < left - n ? part[i].iov_len : left - n;

			memcpy(out + taken + n, part[i].iov_base, len);
			n += len;
		}
		queue_drop(&q, n);
		taken += n;
	}
	assert_int_equal(q.len_bytes, 0);
	assert_null(q.first);
	assert_memory_equal(in, out, TOTAL);
	queue_done(&q);
}

static void splice_keeps_order(void **state)
{
	struct queue a, b;
	struct iovec part[4];
	char text[16] = "";
	int parts;

	(void)state;
	queue_init(&a);
	queue_init(&b);
	assert_int_equal(queue_append(&a, "ab", 2), 0);
	assert_int_equal(queue_append(&b, "cd", 2), 0);
	queue_splice(&a, &b);
	assert_int_equal(b.len_bytes, 0);
	assert_int_equal(queue_append(&a, "ef", 2), 0);
	queue_splice(&a, &b);
	parts = queue_peek(&a, part, 4);
	for (int i = 0; i < parts; i++)
		strncat(text, part[i].iov_base, part[i].iov_len);
	assert_string_equal(text, "abcdef");
	queue_done(&a);
	queue_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(bytes_come_out_in_order), cmocka_unit_test(splice_keeps_order) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
