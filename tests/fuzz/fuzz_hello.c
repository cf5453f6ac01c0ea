/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a stranger sends to the tunnel port: the input is everything that a server's session reads in its handshake. It must never succeed,
 * end in a sentence or wait for more, and take no more than its budget. */
#include "target.h"

#include "tls/ca.h"
#include "tls/ctx.h"
#include "tls/tls.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct tls_ctx *ctx;

static void prepare(void)
{
	struct ca_ephemeral *made = calloc(1, sizeof(*made));
	struct tls_blob authority;
	struct tls_material material;
	struct tls_fault fault;

	must(tls_init() == 0);
	must(made && ca_make_ephemeral(made) == 0);
	authority = (struct tls_blob){ made->authority_der, made->authority_len_bytes };
	material = (struct tls_material){
		.chain = &made->chain,
		.key = { made->key_der, made->key_len_bytes },
		.authorities = &authority,
		.authorities_count = 1,
	};
	must(tls_ctx_create(&material, &ctx, &fault) == 0);
	pem_free(&made->chain);
	free(made);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len_bytes)
{
	struct tls_session *s;
	enum tls_result r;
	uint8_t answer[4096];
	int fds[2];

	if (!ctx)
		prepare();
	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
	must(tls_session_create(ctx, fds[1], TLS_SERVER, &s) == 0);
	do {
		ssize_t n = len_bytes ? send(fds[0], bytes, len_bytes, MSG_NOSIGNAL) : 0;

		if (n > 0) {
			bytes += n;
			len_bytes -= (size_t)n;
		}
		r = tls_handshake(s);
		while (recv(fds[0], answer, sizeof(answer), 0) > 0)
			;
	} while (len_bytes && (r == TLS_WANT_READ || r == TLS_WANT_WRITE));
	must(r != TLS_OK);
	must((r == TLS_FAILED || r == TLS_PEER_CLOSED) == (tls_session_error(s)[0] != '\0'));
	shutdown(fds[0], SHUT_WR);
	if (r == TLS_WANT_READ)
		must(tls_handshake(s) != TLS_OK && tls_session_error(s)[0]);
	tls_session_destroy(s);
	close(fds[0]);
	close(fds[1]);
	return 0;
}
