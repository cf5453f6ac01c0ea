/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tls/tls.h"

#include "tls/session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* --- what the library reads and writes --- */

/* The library asks for a record's head and then for exactly its rest, so counting follows its reads. */
static bool handshake_count(struct tls_session *s, const uint8_t *bytes, size_t len_bytes)
{
	s->handshake_bytes += (uint32_t)len_bytes;
	while (len_bytes) {
		size_t n;

		if (s->record_left) {
			n = len_bytes < s->record_left ? len_bytes : s->record_left;
			s->record_left -= (uint32_t)n;
		} else {
			n = 1;
			s->record_head[s->record_head_len++] = *bytes;
			if (s->record_head_len == TLS_HEAD_BYTES) {
				s->record_left = (uint32_t)s->record_head[3] << 8 | s->record_head[4];
				s->record_head_len = 0;
				s->handshake_records++;
			}
		}
		bytes += n;
		len_bytes -= n;
	}
	return s->handshake_bytes <= TLS_HANDSHAKE_BYTES_MAX && s->handshake_records <= TLS_HANDSHAKE_RECORDS_MAX;
}

static int session_receive(WOLFSSL *ssl, char *dst, int cap, void *io)
{
	struct tls_session *s = io;
	ssize_t n;

	(void)ssl;
	do
		n = recv(s->fd, dst, (size_t)cap, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n > 0) {
		if (handshake_count(s, (const uint8_t *)dst, (size_t)n))
			return (int)n;
		s->io_fault = TLS_IO_BUDGET;
		return WOLFSSL_CBIO_ERR_GENERAL;
	}
	if (n == 0) {
		s->io_fault = TLS_IO_END;
		return WOLFSSL_CBIO_ERR_CONN_CLOSE;
	}
	if (errno == EAGAIN || errno == EWOULDBLOCK)
		return WOLFSSL_CBIO_ERR_WANT_READ;
	s->io_errno = errno;
	s->io_fault = TLS_IO_ERRNO;
	return errno == ECONNRESET ? WOLFSSL_CBIO_ERR_CONN_RST : WOLFSSL_CBIO_ERR_GENERAL;
}

static int session_send(WOLFSSL *ssl, char *src, int len, void *io)
{
	struct tls_session *s = io;
	ssize_t n;

	(void)ssl;
	do
		n = send(s->fd, src, (size_t)len, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n >= 0)
		return (int)n;
	if (errno == EAGAIN || errno == EWOULDBLOCK)
		return WOLFSSL_CBIO_ERR_WANT_WRITE;
	s->io_errno = errno;
	s->io_fault = TLS_IO_ERRNO;
	return errno == ECONNRESET || errno == EPIPE ? WOLFSSL_CBIO_ERR_CONN_RST : WOLFSSL_CBIO_ERR_GENERAL;
}

static int session_take_secret(WOLFSSL *ssl, int id, const unsigned char *secret, int len, void *io)
{
	struct tls_session *s = io;
	enum tls_role whose;

	(void)ssl;
	if (id == CLIENT_TRAFFIC_SECRET)
		whose = TLS_CLIENT;
	else if (id == SERVER_TRAFFIC_SECRET)
		whose = TLS_SERVER;
	else
		return 0;
	if (len <= 0 || len > RECORD_SECRET_MAX)
		return -1;
	memcpy(s->secrets[whose], secret, (size_t)len);
	s->secret_bytes[whose] = len;
	return 0;
}

/* --- handshake --- */

static const char *cipher_name(int suite)
{
	/* RFC 8446, B.4 */
	static const char *const names[] = { "TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256" };

	return suite >= 0x1301 && suite <= 0x1303 ? names[suite - 0x1301] : NULL;
}

static void session_forget_secrets(struct tls_session *s)
{
	explicit_bzero(s->secrets, sizeof(s->secrets));
	memset(s->secret_bytes, 0, sizeof(s->secret_bytes));
}

/* Takes the keys over from the library. Neither side has sent a record under them: this build makes no tickets. */
static int session_take_keys(struct tls_session *s)
{
	enum tls_role other = s->role == TLS_CLIENT ? TLS_SERVER : TLS_CLIENT;
	enum aead_cipher cipher;
	size_t len;
	int r = -EIO;

	if (record_suite((unsigned)wolfSSL_get_current_cipher_suite(s->ssl), &cipher, &len) && (size_t)s->secret_bytes[0] == len &&
	    (size_t)s->secret_bytes[1] == len)
		r = record_start(&s->sending, cipher, s->secrets[s->role], len);
	if (!r)
		r = record_start(&s->receiving, cipher, s->secrets[other], len);
	session_forget_secrets(s);
	return r;
}

static enum tls_result session_open(struct tls_session *s)
{
	char *protocol = NULL;
	word16 len_bytes = 0;
	const char *group = wolfSSL_get_curve_name(s->ssl);
	const char *cipher = cipher_name(wolfSSL_get_current_cipher_suite(s->ssl));

	/* The library lets a handshake pass in which the other side leaves the extension out. */
	if (wolfSSL_ALPN_GetProtocol(s->ssl, &protocol, &len_bytes) != WOLFSSL_SUCCESS || len_bytes != strlen(TLS_ALPN) ||
	    memcmp(protocol, TLS_ALPN, len_bytes) != 0) {
		(void)wolfSSL_shutdown(s->ssl);
		return session_break(s, "the other side did not name the application protocol " TLS_ALPN " (ALPN)");
	}
	if (!s->verdict.is_good || s->verdict.fault[0])
		return session_break(s, "the other side's certificate was not verified");
	if (!cipher || !group)
		return session_break(s, "the handshake agreed on a cipher suite or a group that was not offered");
	if (session_take_keys(s))
		return session_break(s, "no keys could be made of the handshake's secrets");
	s->info = (struct tls_info){ .version = "TLSv1.3", .group = group, .cipher = cipher };
	s->phase = TLS_PHASE_OPEN;
	wolfSSL_free(s->ssl);
	s->ssl = NULL;
	return TLS_OK;
}

int tls_session_create(struct tls_ctx *ctx, int fd, enum tls_role role, struct tls_session **ret)
{
	struct tls_session *s = calloc(1, sizeof(*s));
	char alpn[] = TLS_ALPN;

	if (!s)
		return -ENOMEM;
	s->ctx = tls_ctx_ref(ctx);
	s->fd = fd;
	s->role = role;
	s->records_per_key = TLS_RECORDS_PER_KEY;
	s->verdict.authorities = ctx->authorities;
	s->verdict.authorities_count = ctx->authorities_count;
	s->ssl = wolfSSL_new(role == TLS_CLIENT ? ctx->client : ctx->server);
	if (!s->ssl)
		goto fail;
	wolfSSL_SSLSetIORecv(s->ssl, session_receive);
	wolfSSL_SSLSetIOSend(s->ssl, session_send);
	wolfSSL_SetIOReadCtx(s->ssl, s);
	wolfSSL_SetIOWriteCtx(s->ssl, s);
	wolfSSL_SetCertCbCtx(s->ssl, &s->verdict);
	if (wolfSSL_set_tls13_secret_cb(s->ssl, session_take_secret, s) != WOLFSSL_SUCCESS)
		goto fail;
	if (wolfSSL_UseALPN(s->ssl, alpn, sizeof(alpn) - 1, WOLFSSL_ALPN_FAILED_ON_MISMATCH) != WOLFSSL_SUCCESS)
		goto fail;
		/* The group that we prefer, with its key at once, so that it costs no second round trip. */
#if TLS_HAS_HYBRID
	if (role == TLS_CLIENT && wolfSSL_UseKeyShare(s->ssl, WOLFSSL_X25519MLKEM768) != WOLFSSL_SUCCESS)
		goto fail;
#else
	if (role == TLS_CLIENT && wolfSSL_UseKeyShare(s->ssl, WOLFSSL_ECC_X25519) != WOLFSSL_SUCCESS)
		goto fail;
#endif
	*ret = s;
	return 0;
fail:
	tls_session_destroy(s);
	return -ENOMEM;
}

void tls_session_destroy(struct tls_session *s)
{
	if (!s)
		return;
	wolfSSL_free(s->ssl);
	session_forget_secrets(s);
	record_stop(&s->sending);
	record_stop(&s->receiving);
	verdict_done(&s->verdict);
	tls_ctx_unref(s->ctx);
	free(s);
}

bool tls_session_is_of(const struct tls_session *s, const struct tls_ctx *ctx)
{
	return s->ctx == ctx;
}

enum tls_result tls_handshake(struct tls_session *s)
{
	int r, code;

	if (s->phase == TLS_PHASE_OPEN)
		return TLS_OK;
	if (s->phase == TLS_PHASE_BROKEN)
		return TLS_FAILED;
	r = s->role == TLS_CLIENT ? wolfSSL_connect(s->ssl) : wolfSSL_accept(s->ssl);
	if (r == WOLFSSL_SUCCESS)
		return session_open(s);
	code = wolfSSL_get_error(s->ssl, r);
	if (code == WOLFSSL_ERROR_WANT_READ)
		return TLS_WANT_READ;
	if (code == WOLFSSL_ERROR_WANT_WRITE)
		return TLS_WANT_WRITE;
	return session_break_library(s, code);
}

const struct tls_peer *tls_session_peer(const struct tls_session *s)
{
	return s->verdict.peer;
}

struct tls_info tls_session_info(const struct tls_session *s)
{
	return s->info;
}

const char *tls_session_error(const struct tls_session *s)
{
	return s->error;
}

bool tls_session_is_refused(const struct tls_session *s)
{
	return s->is_certificate_refused;
}
