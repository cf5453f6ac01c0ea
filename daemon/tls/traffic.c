/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a session does once it is open: records in the caller's buffers, key updates (RFC 8446, 4.6.3), alerts (6). */
#include "tls/session.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

enum { TLS_LEGACY_VERSION = 0x0303 };

/* RFC 8446, 6 */
enum {
	ALERT_CLOSE_NOTIFY = 0,
	ALERT_UNEXPECTED_MESSAGE = 10,
	ALERT_BAD_RECORD_MAC = 20,
	ALERT_RECORD_OVERFLOW = 22,
	ALERT_ILLEGAL_PARAMETER = 47,
	ALERT_DECODE_ERROR = 50,
	ALERT_INTERNAL_ERROR = 80,
	ALERT_USER_CANCELED = 90,
	ALERT_WARNING = 1,
	ALERT_FATAL = 2,
};

/* --- what the session sends by itself --- */

/* Seals content behind what waits in control. 0; -ENOBUFS; as record_seal. */
static int control_put(struct tls_session *s, enum record_type type, const uint8_t *content, size_t len_bytes)
{
	size_t record_bytes = TLS_HEAD_BYTES + len_bytes + TLS_TAIL_BYTES;
	uint8_t *record = s->control + s->control_len;
	int r;

	if (record_bytes > sizeof(s->control) - s->control_len)
		return -ENOBUFS;
	memcpy(record + TLS_HEAD_BYTES, content, len_bytes);
	r = record_seal(&s->sending, type, record, len_bytes);
	if (!r)
		s->control_len += record_bytes;
	return r;
}

/* The sentence comes afterwards: the alert is all that the peer can be told, and where it does not fit, the end must do. */
static void send_alert(struct tls_session *s, uint8_t level, uint8_t code)
{
	const uint8_t alert[] = { level, code };

	if (!s->is_close_sent)
		(void)control_put(s, RECORD_ALERT, alert, sizeof(alert));
	s->is_close_sent = true;
}

/* Ends the session with a sentence here, and an alert there. */
#define refuse(s, alert, ...) (send_alert(s, ALERT_FATAL, alert), session_break(s, __VA_ARGS__))

static enum tls_result send_key_update(struct tls_session *s, bool is_request)
{
	const uint8_t message[] = { LATE_KEY_UPDATE_TYPE, 0, 0, 1, is_request };
	int r = control_put(s, RECORD_HANDSHAKE, message, sizeof(message));

	if (!r)
		r = record_renew(&s->sending);
	return r ? session_break(s, "the keys could not be renewed") : TLS_OK;
}

enum tls_result tls_seal(struct tls_session *s, uint8_t *record, size_t len_bytes)
{
	assert(len_bytes >= 1 && len_bytes <= TLS_PLAIN_MAX);
	if (s->phase != TLS_PHASE_OPEN)
		return TLS_FAILED;
	if (s->is_close_sent)
		return session_break(s, "nothing can be sent after close_notify");
	if (s->sending.next >= s->records_per_key && tls_update_keys(s) != TLS_OK)
		return TLS_FAILED;
	if (record_seal(&s->sending, RECORD_DATA, record, len_bytes))
		return session_break(s, "a record could not be sealed");
	s->is_answered = false;
	return TLS_OK;
}

/* --- what the peer sends --- */

static enum tls_result refuse_record(struct tls_session *s, int error)
{
	switch (error) {
	case -EBADMSG:
		return refuse(s, ALERT_BAD_RECORD_MAC, "a record was forged or damaged on its way");
	case -EMSGSIZE:
		return refuse(s, ALERT_RECORD_OVERFLOW, "the other node sent a record of more than %d bytes", RECORD_INNER_MAX - 1);
	case -EPROTO:
		return refuse(s, ALERT_UNEXPECTED_MESSAGE, "the other node sent a record that does not say what it holds");
	default:
		return refuse(s, ALERT_INTERNAL_ERROR, "a record could not be opened");
	}
}

static enum tls_result refuse_message(struct tls_session *s, enum late_result why, unsigned type)
{
	switch (why) {
	case LATE_UNDECODABLE:
		return refuse(s, ALERT_DECODE_ERROR, "the other node sent a handshake message of a wrong length (type %u)", type);
	case LATE_ILLEGAL:
		return refuse(s, ALERT_ILLEGAL_PARAMETER, "the other node sent a key update that neither asks for one nor does not");
	default:
		return refuse(s, ALERT_UNEXPECTED_MESSAGE,
		              "the other node sent a handshake message that has no place after the handshake (type %u)", type);
	}
}

static enum tls_result take_message(struct tls_session *s, const uint8_t *content, size_t len_bytes)
{
	enum late_result r;

	/* RFC 8446, 5.1 */
	if (!len_bytes) {
		return refuse(s, ALERT_UNEXPECTED_MESSAGE, "the other node sent an empty handshake record");
	}
	r = late_take(&s->late, content, len_bytes, s->role == TLS_CLIENT);
	switch (r) {
	case LATE_NOTHING:
		return TLS_OK;
	case LATE_KEY_UPDATE:
	case LATE_KEY_UPDATE_REQUESTED:
		if (record_renew(&s->receiving))
			return session_break(s, "the keys could not be renewed");
		/* Who has said that it sends no more does not answer. And one answer is enough until the next data (RFC 8446, 4.6.3): so what
		 * waits in control stays small, whatever the peer sends. */
		if (r != LATE_KEY_UPDATE_REQUESTED || s->is_close_sent || s->is_answered)
			return TLS_OK;
		s->is_answered = true;
		return send_key_update(s, false);
	case LATE_UNEXPECTED:
	case LATE_UNDECODABLE:
	case LATE_ILLEGAL:
		break;
	}
	return refuse_message(s, r, s->late.head[0]);
}

/* The level says nothing in TLS 1.3: what is neither of the two ends (RFC 8446, 6.1) is an error. */
static enum tls_result take_alert(struct tls_session *s, const uint8_t *content, size_t len_bytes)
{
	if (len_bytes != 2) {
		return refuse(s, ALERT_DECODE_ERROR, "the other node sent an alert of %zu bytes, 2 would be right", len_bytes);
	}
	if (content[1] == ALERT_CLOSE_NOTIFY) {
		(void)session_break(s, "the other node ended the TLS session (close_notify)");
		return TLS_PEER_CLOSED;
	}
	if (content[1] == ALERT_USER_CANCELED)
		return TLS_OK; /* close_notify follows */
	return session_break_alert(s, content[1]);
}

static enum tls_result take_content(struct tls_session *s, unsigned type, const uint8_t *content, size_t len_bytes)
{
	enum tls_result r;

	if (type != RECORD_HANDSHAKE && late_is_cut(&s->late)) {
		return refuse(s, ALERT_UNEXPECTED_MESSAGE, "the other node sent another record in the middle of a handshake message");
	}
	switch (type) {
	case RECORD_DATA:
		r = TLS_OK;
		break;
	case RECORD_HANDSHAKE:
		r = take_message(s, content, len_bytes);
		break;
	case RECORD_ALERT:
		r = take_alert(s, content, len_bytes);
		break;
	default:
		r = refuse(s, ALERT_UNEXPECTED_MESSAGE, "the other node sent a record of an unknown type (%u)", type);
		break;
	}
	if (r != TLS_OK)
		return r;
	if (type == RECORD_DATA && len_bytes) {
		s->idle_records = 0;
	} else if (++s->idle_records > TLS_IDLE_RECORDS_MAX) {
		return refuse(s, ALERT_UNEXPECTED_MESSAGE, "the other node sent %d records in a row without data",
		              TLS_IDLE_RECORDS_MAX + 1);
	}
	return TLS_OK;
}

enum tls_result tls_open(struct tls_session *s, uint8_t *in, size_t in_len_bytes, size_t *ret_used, uint8_t **ret_plain, size_t *ret_len)
{
	size_t body_bytes, len = 0;
	enum tls_result taken;
	unsigned type = 0;
	int r;

	if (s->phase != TLS_PHASE_OPEN)
		return TLS_FAILED;
	if (in_len_bytes < TLS_HEAD_BYTES)
		return TLS_WANT_READ;
	/* Past the handshake nothing else comes (RFC 8446, 5.1 and 5.2), and a length beyond the limit would make the caller wait for
	 * ever. */
	body_bytes = (size_t)in[3] << 8 | in[4];
	if (in[0] != RECORD_DATA || (in[1] << 8 | in[2]) != TLS_LEGACY_VERSION || body_bytes <= AEAD_TAG_BYTES ||
	    body_bytes > TLS_RECORD_MAX - TLS_HEAD_BYTES) {
		return refuse(s, body_bytes > TLS_RECORD_MAX - TLS_HEAD_BYTES ? ALERT_RECORD_OVERFLOW : ALERT_UNEXPECTED_MESSAGE,
		              "the other side sent something that is no TLS 1.3 record (type %u, version %02x%02x, %zu bytes)", in[0],
		              in[1], in[2], body_bytes);
	}
	if (in_len_bytes < TLS_HEAD_BYTES + body_bytes)
		return TLS_WANT_READ;
	r = record_open(&s->receiving, in, body_bytes, &type, &len);
	if (r)
		return refuse_record(s, r);
	taken = take_content(s, type, in + TLS_HEAD_BYTES, len);
	if (taken != TLS_OK)
		return taken;
	*ret_used = TLS_HEAD_BYTES + body_bytes;
	*ret_plain = in + TLS_HEAD_BYTES;
	*ret_len = type == RECORD_DATA ? len : 0;
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
		send_alert(s, ALERT_WARNING, ALERT_CLOSE_NOTIFY);
}

enum tls_result tls_update_keys(struct tls_session *s)
{
	if (s->phase != TLS_PHASE_OPEN)
		return TLS_FAILED;
	if (s->is_close_sent)
		return session_break(s, "nothing can be sent after close_notify");
	return send_key_update(s, true);
}
