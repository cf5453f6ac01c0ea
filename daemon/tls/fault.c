/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tls/session.h"

#include <wolfssl/error-ssl.h>
#include <wolfssl/wolfcrypt/error-crypt.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define TLS_GROUPS_TEXT "(X25519MLKEM768, X25519, P-256)"

enum tls_result session_break(struct tls_session *s, const char *format, ...)
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

enum tls_result session_break_alert(struct tls_session *s, int code)
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
		s->is_certificate_refused = true;
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

enum tls_result session_break_library(struct tls_session *s, int code)
{
	int alert = session_alert(s);

	if (s->verdict.fault[0])
		return session_break(s, "%s", s->verdict.fault);
	switch (s->io_fault) {
	case TLS_IO_BUDGET:
		return session_break(s, "the other side sent more than %u bytes or %u records without ending the handshake",
		                     TLS_HANDSHAKE_BYTES_MAX, TLS_HANDSHAKE_RECORDS_MAX);
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
