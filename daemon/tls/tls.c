/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tls/tls.h"

#include "tls/session.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum {
	TLS_AEAD_TAG_BYTES = 16,
	TLS_CONTENT_APPLICATION_DATA = 23,
	TLS_LEGACY_VERSION = 0x0303,
};

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

static int handshake_receive(struct tls_session *s, char *dst, int cap)
{
	ssize_t n;

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

static int handshake_send(struct tls_session *s, const char *src, int len)
{
	ssize_t n;

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

static int session_receive(WOLFSSL *ssl, char *dst, int cap, void *io)
{
	struct tls_session *s = io;
	size_t n;

	(void)ssl;
	if (s->phase == TLS_PHASE_HANDSHAKE)
		return handshake_receive(s, dst, cap);
	if (!s->open_left)
		return WOLFSSL_CBIO_ERR_WANT_READ;
	n = (size_t)cap < s->open_left ? (size_t)cap : s->open_left;
	memcpy(dst, s->open_at, n);
	s->open_at += n;
	s->open_left -= n;
	return (int)n;
}

static int session_send(WOLFSSL *ssl, char *src, int len, void *io)
{
	struct tls_session *s = io;

	(void)ssl;
	if (s->phase == TLS_PHASE_HANDSHAKE)
		return handshake_send(s, src, len);
	if (s->seal_at) {
		if ((size_t)len != s->seal_len) {
			s->io_fault = TLS_IO_MISFIT;
			return WOLFSSL_CBIO_ERR_GENERAL;
		}
		memcpy(s->seal_at, src, (size_t)len);
		s->seal_at = NULL;
		return len;
	}
	if ((size_t)len > sizeof(s->control) - s->control_len) {
		s->io_fault = TLS_IO_CONTROL_FULL;
		return WOLFSSL_CBIO_ERR_GENERAL;
	}
	memcpy(s->control + s->control_len, src, (size_t)len);
	s->control_len += (size_t)len;
	return len;
}

static enum tls_result session_break_last(struct tls_session *s, int r)
{
	return session_break_library(s, wolfSSL_get_error(s->ssl, r));
}

/* --- handshake --- */

static const char *cipher_name(int suite)
{
	/* RFC 8446, B.4 */
	static const char *const names[] = { "TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256" };

	return suite >= 0x1301 && suite <= 0x1303 ? names[suite - 0x1301] : NULL;
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
	s->info = (struct tls_info){ .version = "TLSv1.3", .group = group, .cipher = cipher };
	s->phase = TLS_PHASE_OPEN;
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
	verdict_done(&s->verdict);
	tls_ctx_unref(s->ctx);
	free(s);
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
	return &s->verdict.peer;
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

/* --- records --- */

enum tls_result tls_update_keys(struct tls_session *s)
{
	int r;

	if (s->phase != TLS_PHASE_OPEN)
		return TLS_FAILED;
	r = wolfSSL_update_keys(s->ssl);
	return r == WOLFSSL_SUCCESS ? TLS_OK : session_break_library(s, r);
}

enum tls_result tls_seal(struct tls_session *s, uint8_t *record, size_t len_bytes)
{
	word64 sealed = 0;
	int r;

	assert(len_bytes >= 1 && len_bytes <= TLS_PLAIN_MAX);
	if (s->phase != TLS_PHASE_OPEN)
		return TLS_FAILED;
	if (wolfSSL_GetSequenceNumber(s->ssl, &sealed) < 0)
		return session_break(s, "the library does not tell how many records it sealed");
	if (sealed >= s->records_per_key && tls_update_keys(s) != TLS_OK)
		return TLS_FAILED;
	s->seal_at = record;
	s->seal_len = TLS_HEAD_BYTES + len_bytes + TLS_TAIL_BYTES;
	r = wolfSSL_write(s->ssl, record + TLS_HEAD_BYTES, (int)len_bytes);
	if (r != (int)len_bytes || s->seal_at) {
		s->seal_at = NULL;
		return session_break_last(s, r);
	}
	return TLS_OK;
}

enum tls_result tls_open(struct tls_session *s, uint8_t *in, size_t in_len_bytes, size_t *ret_used, uint8_t **ret_plain, size_t *ret_len)
{
	size_t body_bytes;
	int r, code;

	if (s->phase != TLS_PHASE_OPEN)
		return TLS_FAILED;
	if (in_len_bytes < TLS_HEAD_BYTES)
		return TLS_WANT_READ;
	/* Past the handshake nothing else comes (RFC 8446, 5.1 and 5.2), and a length beyond the limit would make the caller wait for
	 * ever. */
	body_bytes = (size_t)in[3] << 8 | in[4];
	if (in[0] != TLS_CONTENT_APPLICATION_DATA || (in[1] << 8 | in[2]) != TLS_LEGACY_VERSION || body_bytes <= TLS_AEAD_TAG_BYTES ||
	    body_bytes > TLS_RECORD_MAX - TLS_HEAD_BYTES)
		return session_break(s, "the other side sent something that is no TLS 1.3 record (type %u, version %02x%02x, %zu bytes)",
		                     in[0], in[1], in[2], body_bytes);
	if (in_len_bytes < TLS_HEAD_BYTES + body_bytes)
		return TLS_WANT_READ;
	s->open_at = in;
	s->open_left = TLS_HEAD_BYTES + body_bytes;
	/* The library has copied the record before it writes the plaintext back over it. */
	r = wolfSSL_read(s->ssl, in + TLS_HEAD_BYTES, (int)body_bytes);
	if (r > 0) {
		s->idle_records = 0;
	} else {
		code = wolfSSL_get_error(s->ssl, r);
		if (code == WOLFSSL_ERROR_ZERO_RETURN) {
			(void)session_break(s, "the other node ended the TLS session (close_notify)");
			return TLS_PEER_CLOSED;
		}
		if (code != WOLFSSL_ERROR_WANT_READ)
			return session_break_library(s, code);
		if (++s->idle_records > TLS_IDLE_RECORDS_MAX)
			return session_break(s, "the other node sent %d records in a row without data", TLS_IDLE_RECORDS_MAX + 1);
		r = 0;
	}
	if (s->open_left)
		return session_break(s, "the library left %zu bytes of a record unread", s->open_left);
	*ret_used = TLS_HEAD_BYTES + body_bytes;
	*ret_plain = in + TLS_HEAD_BYTES;
	*ret_len = (size_t)r;
	return TLS_OK;
}

size_t tls_take_control(struct tls_session *s, uint8_t *dst, size_t cap_bytes)
{
	size_t n = s->control_len < cap_bytes ? s->control_len : cap_bytes;

	memcpy(dst, s->control, n);
	memmove(s->control, s->control + n, s->control_len - n);
	s->control_len -= n;
	return n;
}

void tls_close_notify(struct tls_session *s)
{
	if (s->phase == TLS_PHASE_OPEN)
		(void)wolfSSL_shutdown(s->ssl);
}
