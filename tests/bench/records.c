/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a record costs to seal and to open again, each way in turn: through wolfSSL (wolfSSL_write and wolfSSL_read over buffers), by our own
 * protection on wolfCrypt, and on Intel's multi-buffer library; and what an open session holds in memory. Prints medians, one figure a line. */
#include "measure.h"
#include "tls/aead.h"
#include "tls/ca.h"
#include "tls/session.h"

#include <sys/socket.h>
#include <unistd.h>

enum { ROUNDS = 15, SESSIONS = 100, RECORD_BYTES = TLS_HEAD_BYTES + TLS_PLAIN_MAX + TLS_TAIL_BYTES };

static struct tls_ctx *ctx;

static void check(bool is_good, const char *what)
{
	if (!is_good) {
		fprintf(stderr, "failed: %s\n", what);
		exit(EXIT_FAILURE);
	}
}

static void make_context(void)
{
	struct ca_ephemeral *made = calloc(1, sizeof(*made));
	struct tls_blob authority;
	struct tls_material m;
	struct tls_fault fault;

	check(made && ca_make_ephemeral(made) == 0, "certificates");
	authority = (struct tls_blob){ made->authority_der, made->authority_len_bytes };
	m = (struct tls_material){
		.chain = &made->chain, .key = { made->key_der, made->key_len_bytes }, .authorities = &authority, .authorities_count = 1
	};
	check(tls_ctx_create(&m, &ctx, &fault) == 0, "a context");
	pem_free(&made->chain);
	free(made);
}

/* --- wolfSSL's own records --- */

struct wire {
	uint8_t bytes[RECORD_BYTES];
	size_t len_bytes, at;
};

struct library_end {
	WOLFSSL *ssl;
	struct verdict verdict;
	struct wire *in, *out;
};

static int wire_send(WOLFSSL *ssl, char *bytes, int len, void *io)
{
	struct library_end *e = io;

	(void)ssl;
	memcpy(e->out->bytes + e->out->len_bytes, bytes, (size_t)len);
	e->out->len_bytes += (size_t)len;
	return len;
}

static int wire_receive(WOLFSSL *ssl, char *bytes, int cap, void *io)
{
	struct library_end *e = io;
	size_t n = e->in->len_bytes - e->in->at;

	(void)ssl;
	if (!n)
		return WOLFSSL_CBIO_ERR_WANT_READ;
	n = n < (size_t)cap ? n : (size_t)cap;
	memcpy(bytes, e->in->bytes + e->in->at, n);
	e->in->at += n;
	if (e->in->at == e->in->len_bytes)
		e->in->at = e->in->len_bytes = 0;
	return (int)n;
}

static void library_begin(struct library_end *e, WOLFSSL_CTX *library_ctx, struct wire *in, struct wire *out)
{
	*e = (struct library_end){ .in = in, .out = out };
	e->verdict.authorities = ctx->authorities;
	e->verdict.authorities_count = ctx->authorities_count;
	e->ssl = wolfSSL_new(library_ctx);
	check(e->ssl != NULL, "wolfSSL_new");
	wolfSSL_SSLSetIORecv(e->ssl, wire_receive);
	wolfSSL_SSLSetIOSend(e->ssl, wire_send);
	wolfSSL_SetIOReadCtx(e->ssl, e);
	wolfSSL_SetIOWriteCtx(e->ssl, e);
	wolfSSL_SetCertCbCtx(e->ssl, &e->verdict);
}

static void library_open(struct library_end *client, struct library_end *server, struct wire wires[2])
{
	memset(wires, 0, 2 * sizeof(wires[0]));
	library_begin(client, ctx->client, &wires[0], &wires[1]);
	library_begin(server, ctx->server, &wires[1], &wires[0]);
	for (int i = 0; i < 8; i++) {
		(void)wolfSSL_connect(client->ssl);
		(void)wolfSSL_accept(server->ssl);
	}
	check(wolfSSL_is_init_finished(client->ssl) && wolfSSL_is_init_finished(server->ssl), "wolfSSL's handshake");
}

static void library_close(struct library_end *e)
{
	wolfSSL_free(e->ssl);
	verdict_done(&e->verdict);
}

/* --- ours --- */

static void session_open(struct tls_session *ends[2])
{
	enum tls_result r[2] = { TLS_WANT_READ, TLS_WANT_READ };
	int fds[2];

	check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0, "a socket pair");
	check(tls_session_create(ctx, fds[0], TLS_CLIENT, &ends[0]) == 0 && tls_session_create(ctx, fds[1], TLS_SERVER, &ends[1]) == 0,
	      "sessions");
	for (int i = 0; i < 8; i++) {
		for (int k = 0; k < 2; k++)
			r[k] = tls_handshake(ends[k]);
	}
	check(r[0] == TLS_OK && r[1] == TLS_OK, "our handshake");
	close(fds[0]);
	close(fds[1]);
}

/* --- measuring --- */

enum way { WAY_LIBRARY, WAY_WOLFCRYPT, WAY_IPSEC_MB, WAYS };

static struct library_end library[2];
static struct wire wires[2];
static struct tls_session *ours[WAYS][2];
static uint8_t buffer[RECORD_BYTES];

static void carry(enum way way, size_t len)
{
	uint8_t *plain = NULL;
	size_t used = 0, found = 0;

	if (way == WAY_LIBRARY) {
		check(wolfSSL_write(library[0].ssl, buffer + TLS_HEAD_BYTES, (int)len) == (int)len, "wolfSSL_write");
		check(wolfSSL_read(library[1].ssl, buffer + TLS_HEAD_BYTES, (int)len) == (int)len, "wolfSSL_read");
		return;
	}
	check(tls_seal(ours[way][0], buffer, len) == TLS_OK, "sealing");
	check(tls_open(ours[way][1], buffer, TLS_HEAD_BYTES + len + TLS_TAIL_BYTES, &used, &plain, &found) == TLS_OK && found == len,
	      "opening");
}

static int by_value(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void measure(size_t len, unsigned count)
{
	static const char *const names[WAYS] = { "through wolfSSL", "our own by wolfCrypt", "our own by" };
	static double us[WAYS][ROUNDS];

	for (int round = 0; round < ROUNDS; round++) {
		for (enum way w = 0; w < WAYS; w++) {
			double begin;

			if (w != WAY_LIBRARY && !ours[w][0])
				continue;
			begin = cpu_us();
			for (unsigned i = 0; i < count; i++)
				carry(w, len);
			us[w][round] = (cpu_us() - begin) / count;
		}
	}
	for (enum way w = 0; w < WAYS; w++) {
		if (w != WAY_LIBRARY && !ours[w][0])
			continue;
		qsort(us[w], ROUNDS, sizeof(us[w][0]), by_value);
		printf("seal and open %5zu bytes, %s%s%s: %.3f us\n", len, names[w], w == WAY_IPSEC_MB ? " " : "",
		       w == WAY_IPSEC_MB ? aead_engine_text() : "", us[w][ROUNDS / 2]);
	}
}

static void measure_memory(void)
{
	static struct library_end ends[SESSIONS][2];
	static struct wire memory_wires[2];
	static struct tls_session *sessions[SESSIONS][2];
	size_t begin = heap_bytes();

	for (int i = 0; i < SESSIONS; i++)
		library_open(&ends[i][0], &ends[i][1], memory_wires);
	printf("an open WOLFSSL with its peer's chain: %zu bytes\n", (heap_bytes() - begin) / (2 * (size_t)SESSIONS));
	for (int i = 0; i < SESSIONS; i++) {
		library_close(&ends[i][0]);
		library_close(&ends[i][1]);
	}
	begin = heap_bytes();
	for (int i = 0; i < SESSIONS; i++)
		session_open(sessions[i]);
	printf("an open session of ours, all of it: %zu bytes, of which struct tls_session %zu\n",
	       (heap_bytes() - begin) / (2 * (size_t)SESSIONS), sizeof(struct tls_session));
	for (int i = 0; i < SESSIONS; i++) {
		tls_session_destroy(sessions[i][0]);
		tls_session_destroy(sessions[i][1]);
	}
}

int main(void)
{
	check(tls_init() == 0, "tls_init");
	make_context();
	library_open(&library[0], &library[1], wires);
	(void)aead_choose(AEAD_WOLFCRYPT);
	session_open(ours[WAY_WOLFCRYPT]);
	if (aead_choose(AEAD_IPSEC_MB))
		session_open(ours[WAY_IPSEC_MB]);
	measure(64, 20000);
	measure(1024, 10000);
	measure(TLS_PLAIN_MAX, 2000);
	measure_memory();
	library_close(&library[0]);
	library_close(&library[1]);
	for (enum way w = WAY_WOLFCRYPT; w < WAYS; w++) {
		tls_session_destroy(ours[w][0]);
		tls_session_destroy(ours[w][1]);
	}
	tls_ctx_unref(ctx);
	return EXIT_SUCCESS;
}
