/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tls/tls.h"

#include "tls/ca.h"
#include "tls/ctx.h"
#include "tls/verify.h"

#include <wolfssl/error-ssl.h>
#include <wolfssl/wolfcrypt/error-crypt.h>

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	/* What a peer may send before its Finished: hello, a chain of nine certificates with large keys, and room. A stranger can make us
	 * hold no more. */
	TLS_HANDSHAKE_BYTES_MAX = 64 << 10,
	TLS_HANDSHAKE_RECORDS_MAX = 64,
	/* Records in a row that carry no data: key updates, tickets of another library, empty ones. Each costs us work and could come
	 * without end. */
	TLS_IDLE_RECORDS_MAX = 32,
	/* A handshake with itself needs three turns, five with a second hello. */
	TLS_PROOF_TURNS_MAX = 16,
	TLS_AEAD_TAG_BYTES = 16,
	TLS_CONTENT_APPLICATION_DATA = 23,
	TLS_LEGACY_VERSION = 0x0303,
};

/* New keys after so many records. RFC 8446, 5.5 allows 2^24.5 with AES-GCM; the library renews by itself there, from within a write and
 * also behind the record that reached the limit, where its message could not be told from the record. Renewing before that keeps one record
 * in to one record out. */
#define TLS_RECORDS_PER_KEY (UINT64_C(1) << 24)

#define TLS_GROUPS_TEXT "(X25519MLKEM768, X25519, P-256)"

enum tls_phase { TLS_PHASE_HANDSHAKE, TLS_PHASE_OPEN, TLS_PHASE_BROKEN };

/* Why the I/O callbacks gave up, where the library's error says less. */
enum tls_io_fault { TLS_IO_OK, TLS_IO_END, TLS_IO_ERRNO, TLS_IO_BUDGET, TLS_IO_CONTROL_FULL, TLS_IO_MISFIT };

struct tls_session {
	WOLFSSL *ssl;
	struct tls_ctx *ctx;
	int fd;
	enum tls_role role;
	enum tls_phase phase;
	enum tls_io_fault io_fault;
	int io_errno;

	/* What the peer has sent in the handshake, and how much of its current record is still to come. */
	uint32_t handshake_bytes, handshake_records, record_left;
	uint8_t record_head[TLS_HEAD_BYTES];
	uint8_t record_head_len;

	/* Set only during tls_seal: where the sealed record goes. */
	uint8_t *seal_at;
	size_t seal_len;
	/* Set only during tls_open: the one record that the library may read. */
	const uint8_t *open_at;
	size_t open_left;

	uint32_t idle_records;
	uint64_t records_per_key;
	uint8_t control[TLS_CONTROL_MAX];
	size_t control_len;

	struct tls_info info;
	struct verdict verdict;
	char error[TLS_ERROR_BYTES];
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

/* --- faults --- */

__attribute__((format(printf, 2, 3))) static enum tls_result session_break(struct tls_session *s, const char *format, ...)
{
	va_list args;

	s->phase = TLS_PHASE_BROKEN;
	va_start(args, format);
	vsnprintf(s->error, sizeof(s->error), format, args);
	va_end(args);
	return TLS_FAILED;
}

static const char *alert_name(int code)
{
	/* RFC 8446, 6 and RFC 7301, 3.2 */
	static const char *const names[] = {
		[0] = "close_notify",
		[10] = "unexpected_message",
		[20] = "bad_record_mac",
		[22] = "record_overflow",
		[40] = "handshake_failure",
		[42] = "bad_certificate",
		[43] = "unsupported_certificate",
		[44] = "certificate_revoked",
		[45] = "certificate_expired",
		[46] = "certificate_unknown",
		[47] = "illegal_parameter",
		[48] = "unknown_ca",
		[49] = "access_denied",
		[50] = "decode_error",
		[51] = "decrypt_error",
		[70] = "protocol_version",
		[71] = "insufficient_security",
		[80] = "internal_error",
		[90] = "user_canceled",
		[109] = "missing_extension",
		[110] = "unsupported_extension",
		[112] = "unrecognized_name",
		[116] = "certificate_required",
		[120] = "no_application_protocol",
	};

	return code >= 0 && (size_t)code < sizeof(names) / sizeof(names[0]) && names[code] ? names[code] : "unknown";
}

static enum tls_result session_break_alert(struct tls_session *s, int code)
{
	switch (code) {
	case 42: /* bad_certificate to certificate_unknown */
	case 43:
	case 44:
	case 45:
	case 46:
	case 48:  /* unknown_ca */
	case 49:  /* access_denied */
	case 116: /* certificate_required */
		return session_break(s, "the other node refused our certificate (alert %s); its log says why", alert_name(code));
	case 40:  /* handshake_failure */
	case 71:  /* insufficient_security */
	case 109: /* missing_extension */
		return session_break(s,
		                     "the other node refused the handshake (alert %s): "
		                     "no common cipher suite or key exchange group, or it takes no TLS 1.3",
		                     alert_name(code));
	case 47: /* illegal_parameter */
		/* A client's answer to a group that it never offered, and that is what the library names where none is common. */
		if (s->phase == TLS_PHASE_HANDSHAKE && s->role == TLS_SERVER)
			return session_break(s, "the other side has no key exchange group in common with us " TLS_GROUPS_TEXT);
		return session_break(s, "the other node found a value of ours illegal (alert illegal_parameter)");
	case 70: /* protocol_version */
		return session_break(s,
		                     "the other node has no version of TLS in common with us (alert protocol_version); TLS 1.3 is needed");
	case 120: /* no_application_protocol */
		return session_break(s,
		                     "the other node does not speak the application protocol " TLS_ALPN " (alert no_application_protocol)");
	default:
		return session_break(s, "the other node ended the TLS session with the alert %s (%d)", alert_name(code), code);
	}
}

/* The fatal alert that the peer sent last, or -1. */
static int session_alert(struct tls_session *s)
{
	WOLFSSL_ALERT_HISTORY history = { .last_rx = { .code = -1 } };

	(void)wolfSSL_get_alert_history(s->ssl, &history);
	return history.last_rx.code > 0 ? history.last_rx.code : -1;
}

static enum tls_result session_break_library(struct tls_session *s, int code)
{
	int alert = session_alert(s);

	if (s->verdict.fault[0])
		return session_break(s, "%s", s->verdict.fault);
	switch (s->io_fault) {
	case TLS_IO_BUDGET:
		return session_break(s, "the other side sent more than %u bytes or %u records without ending the handshake",
		                     TLS_HANDSHAKE_BYTES_MAX, TLS_HANDSHAKE_RECORDS_MAX);
	case TLS_IO_CONTROL_FULL:
		return session_break(s, "the other node asks for new keys faster than the answers can be sent");
	case TLS_IO_MISFIT:
		return session_break(s, "the library made a record of another size than the one asked for");
	case TLS_IO_OK:
	case TLS_IO_END:
	case TLS_IO_ERRNO:
		break;
	}
	if (alert >= 0)
		return session_break_alert(s, alert);
	switch (s->io_fault) {
	case TLS_IO_END:
		(void)session_break(s, "the other side closed the connection during the handshake, without an alert that says why");
		return TLS_PEER_CLOSED;
	case TLS_IO_ERRNO:
		(void)session_break(s, "the connection broke during the handshake: %s", strerror(s->io_errno));
		return s->io_errno == ECONNRESET || s->io_errno == EPIPE ? TLS_PEER_CLOSED : TLS_FAILED;
	default:
		break;
	}
	switch (code) {
	case NO_PEER_CERT:
		return session_break(s, "the other side showed no certificate, mutual TLS needs one");
	case UNKNOWN_ALPN_PROTOCOL_NAME_E:
		return session_break(s, "the other side speaks another application protocol than " TLS_ALPN " (ALPN)");
	case VERSION_ERROR:
		return session_break(s, "the other side has no version of TLS in common with us, TLS 1.3 is needed");
	case MATCH_SUITE_ERROR:
	case UNSUPPORTED_SUITE:
		return session_break(s,
		                     "the other side has no cipher suite in common with us (AES-128-GCM, AES-256-GCM, ChaCha20-Poly1305)");
	case BAD_KEY_SHARE_DATA:
	case ECC_CURVE_ERROR:
	case ECC_CURVETYPE_ERROR:
		return session_break(s, "the other side has no key exchange group in common with us " TLS_GROUPS_TEXT);
	case UNKNOWN_RECORD_TYPE:
		return session_break(s, "the other side sent something that is not TLS");
	case VERIFY_MAC_ERROR:
	case DECRYPT_ERROR:
	case AES_GCM_AUTH_E:
	case MAC_CMP_FAILED_E:
		return session_break(s, "a record was forged or damaged on its way");
	case VERIFY_FINISHED_ERROR:
	case SIG_VERIFY_E:
	case VERIFY_SIGN_ERROR:
		return session_break(s, "the other side does not hold the private key of its certificate");
	default:
		return session_break(s, "TLS failed: %s", wolfSSL_ERR_reason_error_string((unsigned long)code));
	}
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

/* --- the library's start, and a context's proof --- */

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
	*ret_self = client->verdict.peer;
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
