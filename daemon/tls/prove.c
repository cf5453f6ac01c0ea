/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A context's proof, and the library's start that uses it. */
#include "tls/aead.h"
#include "tls/ca.h"
#include "tls/ctx.h"
#include "tls/session.h"
#include "tls/tls.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A handshake with itself needs three turns, five with a second hello. */
enum { TLS_PROOF_TURNS_MAX = 16 };

static bool result_waits(enum tls_result r)
{
	return r == TLS_WANT_READ || r == TLS_WANT_WRITE;
}

int tls_ctx_prove(struct tls_ctx *ctx, struct tls_peer *ret_self, int *ret_code, char error[TLS_ERROR_BYTES])
{
	struct tls_session *client = NULL, *server = NULL, *failed = NULL;
	enum tls_result c = TLS_WANT_READ, v = TLS_WANT_READ;
	uint8_t record[TLS_HEAD_BYTES + 1 + TLS_TAIL_BYTES], *plain;
	size_t used, len;
	int fds[2], r;

	*ret_code = 0;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds)) {
		r = -errno;
		snprintf(error, TLS_ERROR_BYTES, "no socket pair: %s", strerror(errno));
		return r;
	}
	r = tls_session_create(ctx, fds[0], TLS_CLIENT, &client);
	if (!r)
		r = tls_session_create(ctx, fds[1], TLS_SERVER, &server);
	if (r) {
		snprintf(error, TLS_ERROR_BYTES, "out of memory");
		goto out;
	}
	for (int turns = 0; turns < TLS_PROOF_TURNS_MAX && (result_waits(c) || result_waits(v)); turns++) {
		if (result_waits(c))
			c = tls_handshake(client);
		if (result_waits(v))
			v = tls_handshake(server);
		if (c == TLS_FAILED || v == TLS_FAILED)
			break;
	}
	/* The one that judged says more than the one that got its alert. */
	if (client->verdict.fault[0] || (c != TLS_OK && !server->verdict.fault[0]))
		failed = client;
	else if (v != TLS_OK)
		failed = server;
	if (!failed) {
		record[TLS_HEAD_BYTES] = 0x5a;
		if (tls_seal(client, record, 1) != TLS_OK)
			failed = client;
		else if (tls_open(server, record, sizeof(record), &used, &plain, &len) != TLS_OK || len != 1 || *plain != 0x5a)
			failed = server;
	}
	if (failed) {
		r = -EINVAL;
		*ret_code = failed->verdict.code;
		snprintf(error, TLS_ERROR_BYTES, "%s", failed->verdict.fault[0] ? failed->verdict.fault : failed->error);
		goto out;
	}
	memset(ret_self, 0, sizeof(*ret_self));
	memcpy(ret_self, client->verdict.peer, tls_peer_bytes(client->verdict.peer));
out:
	tls_session_destroy(client);
	tls_session_destroy(server);
	close(fds[0]);
	close(fds[1]);
	return r;
}

/* A whole handshake makes the library detect the processor and fill its tables, which it would else do unlocked from the workers. */
int tls_init(void)
{
	struct ca_ephemeral *made;
	struct tls_ctx *ctx = NULL;
	struct tls_fault fault;
	struct tls_blob authority;
	struct tls_material material;
	struct tls_peer self;
	char error[TLS_ERROR_BYTES];
	int code, r = -EIO;

	if (wolfSSL_Init() != WOLFSSL_SUCCESS)
		return -EIO;
	aead_start();
	made = calloc(1, sizeof(*made));
	if (!made || ca_make_ephemeral(made))
		goto out;
	authority = (struct tls_blob){ made->authority_der, made->authority_len_bytes };
	material = (struct tls_material){
		.chain = &made->chain,
		.key = { made->key_der, made->key_len_bytes },
		.authorities = &authority,
		.authorities_count = 1,
	};
	if (tls_ctx_create(&material, &ctx, &fault) == 0 && tls_ctx_prove(ctx, &self, &code, error) == 0)
		r = 0;
out:
	tls_ctx_unref(ctx);
	if (made) {
		pem_free(&made->chain);
		explicit_bzero(made, sizeof(*made));
	}
	free(made);
	return r;
}

const char *tls_engine_text(void)
{
	return aead_engine_text();
}
