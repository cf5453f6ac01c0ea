/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Records of a session that is open. The first byte of the input says the suite, our role, the engine, and what the rest is: bytes as they came
 * from the wire, which nobody sealed; or pieces, each behind its length (two bytes), that are sealed as a peer would and hold whatever the input
 * says, type and padding too. Whatever comes, opening stays inside of the record, data is what was sealed, what the session answers is sealed by
 * its keys and is an alert or a key update, and a session that ends has a sentence. */
#include "target.h"

#include "tls/session.h"

#include <stdlib.h>
#include <string.h>

enum { IS_SERVER = 4, IS_WOLFCRYPT = 8, IS_WIRE = 16 };

/* The session, and the other end of both directions. */
struct fuzz {
	struct tls_session *session;
	struct record_keys sealing, opening;
};

static void begin(struct fuzz *f, uint8_t first)
{
	static const uint8_t ours[RECORD_SECRET_MAX] = { 1 }, theirs[RECORD_SECRET_MAX] = { 2 };
	enum aead_cipher cipher;
	size_t secret_bytes;

	must(record_suite(0x1301 + first % 3, &cipher, &secret_bytes));
	(void)aead_choose(first & IS_WOLFCRYPT ? AEAD_WOLFCRYPT : AEAD_IPSEC_MB);
	f->session = calloc(1, sizeof(*f->session));
	must(f->session != NULL);
	f->session->role = first & IS_SERVER ? TLS_SERVER : TLS_CLIENT;
	f->session->phase = TLS_PHASE_OPEN;
	f->session->records_per_key = TLS_RECORDS_PER_KEY;
	must(record_start(&f->session->sending, cipher, ours, secret_bytes) == 0);
	must(record_start(&f->session->receiving, cipher, theirs, secret_bytes) == 0);
	must(record_start(&f->opening, cipher, ours, secret_bytes) == 0);
	must(record_start(&f->sealing, cipher, theirs, secret_bytes) == 0);
}

static void end(struct fuzz *f)
{
	tls_session_destroy(f->session);
	record_stop(&f->sealing);
	record_stop(&f->opening);
}

static void take_control(struct fuzz *f)
{
	uint8_t control[TLS_CONTROL_MAX];
	size_t n = tls_take_control(f->session, control, sizeof(control)), at = 0;

	while (at < n) {
		size_t body, len = 0;
		unsigned type = 0;

		must(n - at >= TLS_HEAD_BYTES);
		body = (size_t)control[at + 3] << 8 | control[at + 4];
		must(body > AEAD_TAG_BYTES && body <= n - at - TLS_HEAD_BYTES);
		must(record_open(&f->opening, control + at, body, &type, &len) == 0);
		must((type == RECORD_ALERT && len == 2) || (type == RECORD_HANDSHAKE && len == 5 && control[at + TLS_HEAD_BYTES] == 24));
		if (type == RECORD_HANDSHAKE)
			must(record_renew(&f->opening) == 0);
		at += TLS_HEAD_BYTES + body;
	}
}

/* Opens what lies in the memory of exactly this size. Whether the session goes on. */
static bool open_records(struct fuzz *f, uint8_t *in, size_t len_bytes, const uint8_t *inner)
{
	size_t at = 0;

	for (;;) {
		size_t used = 0, len = 0;
		uint8_t *plain = NULL;
		enum tls_result r = tls_open(f->session, in + at, len_bytes - at, &used, &plain, &len);

		take_control(f);
		if (r == TLS_WANT_READ)
			return true;
		if (r != TLS_OK) {
			size_t n = strnlen(tls_session_error(f->session), TLS_ERROR_BYTES);

			must(r == TLS_FAILED || r == TLS_PEER_CLOSED);
			must(n > 0 && n < TLS_ERROR_BYTES);
			must(tls_open(f->session, in, len_bytes, &used, &plain, &len) == TLS_FAILED);
			return false;
		}
		must(used > TLS_HEAD_BYTES && used <= len_bytes - at);
		must(plain == in + at + TLS_HEAD_BYTES && len <= 16384 && TLS_HEAD_BYTES + len <= used);
		must(!inner || memcmp(plain, inner, len) == 0);
		at += used;
	}
}

static void open_wire(struct fuzz *f, const uint8_t *bytes, size_t len_bytes)
{
	uint8_t *in = malloc(len_bytes ? len_bytes : 1);

	must(in != NULL);
	memcpy(in, bytes, len_bytes);
	(void)open_records(f, in, len_bytes, NULL);
	free(in);
}

static void nonce_of(const struct record_keys *k, uint8_t nonce[AEAD_NONCE_BYTES])
{
	memcpy(nonce, k->iv, AEAD_NONCE_BYTES);
	for (int i = 0; i < 8; i++)
		nonce[4 + i] ^= (uint8_t)(k->next >> (56 - 8 * i));
}

static bool open_piece(struct fuzz *f, const uint8_t *inner, size_t inner_bytes)
{
	size_t body_bytes = inner_bytes + AEAD_TAG_BYTES;
	uint8_t *record = malloc(TLS_HEAD_BYTES + body_bytes), nonce[AEAD_NONCE_BYTES], before[RECORD_SECRET_MAX];
	bool goes_on;

	must(record != NULL);
	memcpy(record, "\x17\x03\x03", 3);
	record[3] = (uint8_t)(body_bytes >> 8);
	record[4] = (uint8_t)body_bytes;
	memcpy(record + TLS_HEAD_BYTES, inner, inner_bytes);
	nonce_of(&f->sealing, nonce);
	must(aead_seal(f->sealing.aead, nonce, record, TLS_HEAD_BYTES, record + TLS_HEAD_BYTES, inner_bytes,
	               record + TLS_HEAD_BYTES + inner_bytes) == 0);
	f->sealing.next++;
	memcpy(before, f->session->receiving.secret, sizeof(before));
	goes_on = open_records(f, record, TLS_HEAD_BYTES + body_bytes, inner);
	/* A key update: what follows is sealed by the next keys. */
	if (goes_on && memcmp(before, f->session->receiving.secret, sizeof(before)) != 0)
		must(record_renew(&f->sealing) == 0);
	free(record);
	return goes_on;
}

static void open_pieces(struct fuzz *f, const uint8_t *bytes, size_t len_bytes)
{
	while (len_bytes >= 2) {
		size_t n = (size_t)bytes[0] << 8 | bytes[1];

		bytes += 2;
		len_bytes -= 2;
		if (n > len_bytes)
			n = len_bytes;
		if (n > AEAD_TEXT_MAX - AEAD_TAG_BYTES)
			n = AEAD_TEXT_MAX - AEAD_TAG_BYTES;
		if (n && !open_piece(f, bytes, n))
			return;
		bytes += n;
		len_bytes -= n;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len_bytes)
{
	struct fuzz f;

	if (!len_bytes)
		return 0;
	begin(&f, bytes[0]);
	if (bytes[0] & IS_WIRE)
		open_wire(&f, bytes + 1, len_bytes - 1);
	else
		open_pieces(&f, bytes + 1, len_bytes - 1);
	end(&f);
	return 0;
}
