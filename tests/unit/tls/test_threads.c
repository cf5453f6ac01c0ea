/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Workers share a context while the main thread replaces it: for ThreadSanitizer above all. */
#include "tls/cred.h"
#include "tls_pair.h"
#include "unit/pki.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { THREADS = 4, HANDSHAKES = 8, RELOADS = 8 };

static pthread_mutex_t current_lock = PTHREAD_MUTEX_INITIALIZER;
static struct tls_ctx *current;

static struct tls_ctx *current_get(void)
{
	struct tls_ctx *ctx;

	pthread_mutex_lock(&current_lock);
	ctx = tls_ctx_ref(current);
	pthread_mutex_unlock(&current_lock);
	return ctx;
}

/* One pair in a thread of its own; returns NULL where all went well. cmocka's assertions belong to the main thread alone. */
static void *shake_hands(void *arg)
{
	(void)arg;
	for (int i = 0; i < HANDSHAKES; i++) {
		struct tls_ctx *ctx = current_get();
		struct tls_session *client = NULL, *server = NULL;
		enum tls_result c = TLS_WANT_READ, s = TLS_WANT_READ;
		uint8_t record[TLS_HEAD_BYTES + 100 + TLS_TAIL_BYTES], *plain;
		size_t used, len;
		bool is_good;
		int fds[2];

		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) ||
		    tls_session_create(ctx, fds[0], TLS_CLIENT, &client) || tls_session_create(ctx, fds[1], TLS_SERVER, &server))
			return "setting up";
		tls_ctx_unref(ctx);
		for (int k = 0; k < 10 && !(c == TLS_OK && s == TLS_OK); k++) {
			c = tls_handshake(client);
			s = tls_handshake(server);
		}
		is_good = c == TLS_OK && s == TLS_OK;
		memset(record, 'x', sizeof(record));
		is_good = is_good && tls_seal(client, record, 100) == TLS_OK;
		is_good = is_good && tls_open(server, record, sizeof(record), &used, &plain, &len) == TLS_OK && len == 100;
		tls_session_destroy(client);
		tls_session_destroy(server);
		close(fds[0]);
		close(fds[1]);
		if (!is_good)
			return "a handshake or a record";
	}
	return NULL;
}

static void test_shared_context_is_replaced(void **state)
{
	const struct pki *pki = pki_get();
	pthread_t threads[THREADS];

	(void)state;
	current = tls_ctx_ref(pki->nodes[0].ctx);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, shake_hands, NULL), 0);
	for (int i = 0; i < RELOADS; i++) {
		struct tls_ctx *ctx = NULL, *old;
		struct cred_info info;
		char error[CRED_ERROR_BYTES];

		assert_int_equal(cred_load(pki->nodes[i % PKI_NODES].dir, NULL, &ctx, &info, error), 0);
		pthread_mutex_lock(&current_lock);
		old = current;
		current = ctx;
		pthread_mutex_unlock(&current_lock);
		tls_ctx_unref(old);
	}
	for (int i = 0; i < THREADS; i++) {
		void *fault = NULL;

		assert_int_equal(pthread_join(threads[i], &fault), 0);
		if (fault)
			fail_msg("thread %d: %s failed", i, (const char *)fault);
	}
	tls_ctx_unref(current);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shared_context_is_replaced),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
