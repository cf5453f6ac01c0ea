/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "carry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>

#include <cmocka.h>

void carry_send(int fd, size_t len_bytes)
{
	static char bytes[65536];

	while (len_bytes) {
		size_t n = len_bytes < sizeof(bytes) ? len_bytes : sizeof(bytes);

		assert_int_equal(send(fd, bytes, n, MSG_NOSIGNAL), n);
		len_bytes -= n;
	}
}

void carry_expect(struct pair *p, int fd, size_t total_bytes)
{
	char got[65536];

	while (total_bytes) {
		ssize_t n;

		assert_true(talk_wait(p, fd) > 0);
		n = recv(fd, got, total_bytes < sizeof(got) ? total_bytes : sizeof(got), 0);
		assert_true(n > 0);
		total_bytes -= (size_t)n;
	}
}

void carry_bytes(struct pair *p, int from, int to, size_t total_bytes)
{
	while (total_bytes) {
		size_t n = total_bytes < 16384 ? total_bytes : 16384;

		carry_send(from, n);
		carry_expect(p, to, n);
		total_bytes -= n;
	}
}

bool carry_has_sent(void *ctx)
{
	const struct carry_sent *wanted = ctx;

	return wanted->stream->tx.sent == wanted->bytes;
}
