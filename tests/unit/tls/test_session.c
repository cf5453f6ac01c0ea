/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Sessions: what a handshake tells, records in place, key updates, and records that a peer must not send. */
#include "tls/cred.h"
#include "tls/session.h"
#include "tls_pair.h"
#include "unit/pki.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include <wolfssl/wolfcrypt/aes.h>
#include <wolfssl/wolfcrypt/hash.h>
#include <wolfssl/wolfcrypt/kdf.h>

static struct tls_pair pair;

static int setup(void **state)
{
	const struct pki *pki = pki_get();

	(void)state;
	tls_pair_open(&pair, pki->nodes[0].ctx, pki->nodes[1].ctx);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	tls_pair_destroy(&pair);
	return 0;
}

static void test_handshake_tells_who_and_how(void **state)
{
	const struct pki *pki = pki_get();
	const struct tls_peer *peer = tls_session_peer(pair.client);
	struct tls_info info = tls_session_info(pair.server);
	const char *group = TLS_HAS_HYBRID ? "X25519MLKEM768" : "X25519";

	(void)state;
	assert_string_equal(info.version, "TLSv1.3");
	assert_string_equal(info.group, group);
	assert_string_equal(info.cipher, "TLS_AES_128_GCM_SHA256");
	assert_string_equal(tls_session_info(pair.client).group, group);
	assert_int_equal(peer->names_count, 1);
	assert_int_equal(peer->names[0].type, TLS_NAME_URI);
	assert_string_equal(peer->names[0].text, "spiffe://cluster.local/ns/culvert/node/node2");
	assert_int_equal(peer->not_after_s, pki->nodes[1].info.self.not_after_s);
	assert_string_equal(peer->serial, pki->nodes[1].info.self.serial);
	assert_memory_equal(peer->sha256, pki->nodes[1].info.self.sha256, sizeof(peer->sha256));
	assert_string_equal(tls_session_peer(pair.server)->names[0].text, "spiffe://cluster.local/ns/culvert/node/node1");
	/* Nothing is left for later: no ticket, no update. */
	assert_int_equal(pair.client->control_len + pair.server->control_len, 0);
}

/* Hands what lies at from over to to, one byte. */
static bool relay_byte(int from, int to)
{
	uint8_t byte;

	return recv(from, &byte, 1, MSG_DONTWAIT) == 1 && send(to, &byte, 1, MSG_DONTWAIT) == 1;
}

static void test_handshake_byte_by_byte(void **state)
{
	const struct pki *pki = pki_get();
	struct tls_session *client, *server;
	enum tls_result c = TLS_WANT_READ, v = TLS_WANT_READ;
	int near[2], far[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, near), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, far), 0);
	assert_int_equal(tls_session_create(pki->nodes[0].ctx, near[0], TLS_CLIENT, &client), 0);
	assert_int_equal(tls_session_create(pki->nodes[1].ctx, far[0], TLS_SERVER, &server), 0);
	for (bool is_moving = true; is_moving && !(c == TLS_OK && v == TLS_OK);) {
		c = tls_handshake(client);
		v = tls_handshake(server);
		assert_true(c == TLS_OK || c == TLS_WANT_READ);
		assert_true(v == TLS_OK || v == TLS_WANT_READ);
		is_moving = relay_byte(near[1], far[1]);
		is_moving = relay_byte(far[1], near[1]) || is_moving;
	}
	assert_int_equal(c, TLS_OK);
	assert_int_equal(v, TLS_OK);
	/* Neither has read or counted anything beyond its handshake. */
	assert_true(server->handshake_bytes < 8192 && server->handshake_records < 16);
	assert_false(relay_byte(near[1], far[1]));
	tls_pair_carry(client, server, "hello");
	tls_session_destroy(client);
	tls_session_destroy(server);
	for (int i = 0; i < 2; i++) {
		close(near[i]);
		close(far[i]);
	}
}

static void carry_pattern(struct tls_session *from, struct tls_session *to, size_t len)
{
	uint8_t record[TLS_HEAD_BYTES + TLS_PLAIN_MAX + TLS_TAIL_BYTES + 1], *plain = NULL;
	size_t used = 0, plain_len = 0;

	record[TLS_HEAD_BYTES + len + TLS_TAIL_BYTES] = 0xa5;
	for (size_t i = 0; i < len; i++)
		record[TLS_HEAD_BYTES + i] = (uint8_t)(i * 7 + len);
	assert_int_equal(tls_seal(from, record, len), TLS_OK);
	assert_int_equal(record[TLS_HEAD_BYTES + len + TLS_TAIL_BYTES], 0xa5);
	assert_int_equal(record[0], 23);
	assert_int_equal(record[3] << 8 | record[4], len + TLS_TAIL_BYTES);
	assert_int_equal(tls_open(to, record, TLS_HEAD_BYTES + len + TLS_TAIL_BYTES, &used, &plain, &plain_len), TLS_OK);
	assert_int_equal(plain_len, len);
	assert_ptr_equal(plain, record + TLS_HEAD_BYTES);
	for (size_t i = 0; i < len; i++)
		assert_int_equal(plain[i], (uint8_t)(i * 7 + len));
}

static void test_records_of_all_sizes_both_ways(void **state)
{
	/* 5 makes a record as long as a key update's. */
	static const size_t sizes[] = { 1, 2, 5, 27, 255, 256, 1448, 4096, 16000, TLS_PLAIN_MAX };

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		carry_pattern(pair.client, pair.server, sizes[i]);
		carry_pattern(pair.server, pair.client, sizes[i]);
	}
}

static void test_train_of_four_records(void **state)
{
	enum { RECORD = TLS_HEAD_BYTES + TLS_PLAIN_MAX + TLS_TAIL_BYTES };
	uint8_t *train = malloc(4 * RECORD), *plain = NULL;
	size_t used = 0, len = 0;

	(void)state;
	assert_int_equal(4 * RECORD, 65160);
	for (int i = 0; i < 4; i++) {
		memset(train + i * RECORD + TLS_HEAD_BYTES, 'a' + i, TLS_PLAIN_MAX);
		assert_int_equal(tls_seal(pair.client, train + i * RECORD, TLS_PLAIN_MAX), TLS_OK);
	}
	for (int i = 0; i < 4; i++) {
		/* All that lies behind the first record must stay as it is. */
		assert_int_equal(tls_open(pair.server, train + i * RECORD, (size_t)(4 - i) * RECORD, &used, &plain, &len), TLS_OK);
		assert_int_equal(used, RECORD);
		assert_int_equal(len, TLS_PLAIN_MAX);
		assert_int_equal(plain[0], 'a' + i);
		assert_int_equal(plain[len - 1], 'a' + i);
	}
	free(train);
}

static void test_truncated_record_waits(void **state)
{
	uint8_t record[TLS_HEAD_BYTES + 100 + TLS_TAIL_BYTES], copy[sizeof(record)], *plain = NULL;
	size_t used = 77, len = 77;

	(void)state;
	memset(record + TLS_HEAD_BYTES, 'x', 100);
	assert_int_equal(tls_seal(pair.client, record, 100), TLS_OK);
	memcpy(copy, record, sizeof(record));
	for (size_t n = 0; n < sizeof(record); n++) {
		assert_int_equal(tls_open(pair.server, record, n, &used, &plain, &len), TLS_WANT_READ);
		assert_int_equal(used, 77);
	}
	assert_memory_equal(record, copy, sizeof(record));
	assert_int_equal(tls_open(pair.server, record, sizeof(record), &used, &plain, &len), TLS_OK);
	assert_int_equal(len, 100);
}

static void test_flipped_bit_is_refused_and_told(void **state)
{
	/* In the length's low bit nothing is decrypted yet; the tail is the tag, the middle the text. */
	static const size_t where[] = { TLS_HEAD_BYTES, TLS_HEAD_BYTES + 50, TLS_HEAD_BYTES + 100,
		                        TLS_HEAD_BYTES + 100 + TLS_TAIL_BYTES - 1 };

	(void)state;
	for (size_t i = 0; i < sizeof(where) / sizeof(where[0]); i++) {
		uint8_t record[TLS_HEAD_BYTES + 100 + TLS_TAIL_BYTES], control[TLS_CONTROL_MAX], *plain = NULL;
		size_t used = 0, len = 0, n;

		memset(record + TLS_HEAD_BYTES, 'x', 100);
		assert_int_equal(tls_seal(pair.client, record, 100), TLS_OK);
		record[where[i]] ^= 0x10;
		assert_int_equal(tls_open(pair.server, record, sizeof(record), &used, &plain, &len), TLS_FAILED);
		assert_string_equal(tls_session_error(pair.server), "a record was forged or damaged on its way");
		n = tls_take_control(pair.server, control, sizeof(control));
		assert_true(n > 0);
		assert_int_equal(tls_open(pair.client, control, n, &used, &plain, &len), TLS_FAILED);
		assert_non_null(strstr(tls_session_error(pair.client), "bad_record_mac"));
		/* It stays broken. */
		record[where[i]] ^= 0x10;
		assert_int_equal(tls_open(pair.server, record, sizeof(record), &used, &plain, &len), TLS_FAILED);
		assert_int_equal(tls_seal(pair.server, record, 100), TLS_FAILED);
		teardown(state);
		setup(state);
	}
}

static void test_repeated_record_is_refused(void **state)
{
	uint8_t record[TLS_HEAD_BYTES + 10 + TLS_TAIL_BYTES], copy[sizeof(record)], *plain = NULL;
	size_t used = 0, len = 0;

	(void)state;
	memset(record + TLS_HEAD_BYTES, 'x', 10);
	assert_int_equal(tls_seal(pair.client, record, 10), TLS_OK);
	memcpy(copy, record, sizeof(record));
	assert_int_equal(tls_open(pair.server, record, sizeof(record), &used, &plain, &len), TLS_OK);
	assert_int_equal(tls_open(pair.server, copy, sizeof(copy), &used, &plain, &len), TLS_FAILED);
}

static void test_key_update_both_ways(void **state)
{
	(void)state;
	tls_pair_carry(pair.client, pair.server, "before");
	for (int i = 0; i < 3; i++) {
		struct tls_session *a = i % 2 ? pair.server : pair.client, *b = i % 2 ? pair.client : pair.server;

		assert_int_equal(tls_update_keys(a), TLS_OK);
		assert_int_equal(tls_pair_carry_control(a, b), 1);
		/* b answers a's request with an update of its own, and not again. */
		assert_int_equal(tls_pair_carry_control(b, a), 1);
		assert_int_equal(tls_pair_carry_control(a, b), 0);
		tls_pair_carry(a, b, "hello");
		tls_pair_carry(b, a, "again");
	}
}

static void test_both_update_at_once(void **state)
{
	(void)state;
	assert_int_equal(tls_update_keys(pair.client), TLS_OK);
	assert_int_equal(tls_update_keys(pair.server), TLS_OK);
	tls_pair_carry_control(pair.client, pair.server);
	tls_pair_carry_control(pair.server, pair.client);
	tls_pair_carry_control(pair.client, pair.server);
	tls_pair_carry_control(pair.server, pair.client);
	tls_pair_carry(pair.client, pair.server, "a");
	tls_pair_carry(pair.server, pair.client, "b");
}

static void test_keys_are_renewed_by_count(void **state)
{
	size_t updates = 0;

	(void)state;
	pair.client->records_per_key = 4;
	for (int i = 0; i < 20; i++) {
		uint8_t record[TLS_HEAD_BYTES + 5 + TLS_TAIL_BYTES], *plain = NULL;
		size_t used = 0, len = 0;

		memcpy(record + TLS_HEAD_BYTES, "12345", 5);
		assert_int_equal(tls_seal(pair.client, record, 5), TLS_OK);
		/* As tls.h says: what control gives goes before the record. */
		updates += tls_pair_carry_control(pair.client, pair.server);
		assert_int_equal(tls_open(pair.server, record, sizeof(record), &used, &plain, &len), TLS_OK);
		assert_int_equal(len, 5);
		assert_memory_equal(plain, "12345", 5);
		tls_pair_carry_control(pair.server, pair.client);
	}
	assert_int_equal(updates, 4);
	tls_pair_carry(pair.server, pair.client, "still there");
}

static void test_limit_lies_below_the_library_s(void **state)
{
	(void)state;
	/* RFC 8446, 5.5: 2^24.5 */
	assert_true(pair.client->records_per_key < 23726566);
}

static void test_close_notify_is_the_end(void **state)
{
	uint8_t control[TLS_CONTROL_MAX], *plain = NULL;
	size_t used = 0, len = 0, n;

	(void)state;
	tls_close_notify(pair.client);
	n = tls_take_control(pair.client, control, sizeof(control));
	assert_true(n > 0);
	assert_int_equal(tls_open(pair.server, control, n, &used, &plain, &len), TLS_PEER_CLOSED);
	/* The other direction goes on until it is closed too, but we read no more. */
	assert_int_equal(tls_open(pair.server, control, n, &used, &plain, &len), TLS_FAILED);
}

static void test_control_comes_in_pieces(void **state)
{
	uint8_t control[TLS_CONTROL_MAX], *plain = NULL;
	size_t used = 0, len = 0, n = 0, piece;

	(void)state;
	assert_int_equal(tls_update_keys(pair.client), TLS_OK);
	while ((piece = tls_take_control(pair.client, control + n, 5)) > 0)
		n += piece;
	assert_int_equal(tls_open(pair.server, control, n, &used, &plain, &len), TLS_OK);
	assert_int_equal(used, n);
	tls_pair_carry(pair.client, pair.server, "after");
}

/* --- records that our own sealing never makes --- */

/* What HKDF-Expand-Label gives for the secret that from sends under, by the library. */
static void forge_expand(const struct tls_session *from, const char *label, uint8_t *ret, size_t len)
{
	assert_int_equal(wc_Tls13_HKDF_Expand_Label(ret, (word32)len, from->sending.secret, 32, (const byte *)"tls13 ", 6,
	                                            (const byte *)label, (word32)strlen(label), NULL, 0, WC_SHA256),
	                 0);
}

/* Seals what from would, with its keys, as the record number `number` of this key. content ends with its type and padding. */
static size_t forge(struct tls_session *from, uint64_t number, const uint8_t *content, size_t len, uint8_t *record)
{
	uint8_t key[16], nonce[12];
	Aes aes;

	record[0] = 23;
	record[1] = record[2] = 3;
	record[3] = (uint8_t)((len + 16) >> 8);
	record[4] = (uint8_t)(len + 16);
	forge_expand(from, "key", key, sizeof(key));
	forge_expand(from, "iv", nonce, sizeof(nonce));
	for (int i = 0; i < 8; i++)
		nonce[4 + i] ^= (uint8_t)(number >> (56 - 8 * i));
	assert_int_equal(wc_AesInit(&aes, NULL, INVALID_DEVID), 0);
	assert_int_equal(wc_AesGcmSetKey(&aes, key, sizeof(key)), 0);
	assert_int_equal(wc_AesGcmEncrypt(&aes, record + 5, content, (word32)len, nonce, 12, record + 5 + len, 16, record, 5), 0);
	wc_AesFree(&aes);
	return 5 + len + 16;
}

static enum tls_result open_forged_by(struct tls_session *from, uint64_t number, const void *content, size_t len, size_t *ret_len)
{
	struct tls_session *to = from == pair.client ? pair.server : pair.client;
	uint8_t *record = malloc(TLS_RECORD_MAX + 300), *plain = NULL;
	size_t used = 0, n = forge(from, number, content, len, record);
	enum tls_result r = tls_open(to, record, n, &used, &plain, ret_len);

	if (r == TLS_OK)
		assert_int_equal(used, n);
	free(record);
	return r;
}

static enum tls_result open_forged(uint64_t number, const void *content, size_t len, size_t *ret_len)
{
	return open_forged_by(pair.client, number, content, len, ret_len);
}

static void test_forged_data_opens(void **state)
{
	size_t len = 0;

	(void)state;
	/* So that a refusal below is for the reason it names: the forging itself is right. */
	assert_int_equal(open_forged(0, "hello\x17", 6, &len), TLS_OK);
	assert_int_equal(len, 5);
	assert_int_equal(open_forged(1, "padded\x17\0\0\0", 10, &len), TLS_OK);
	assert_int_equal(len, 6);
}

static void test_empty_records_are_borne_but_not_without_end(void **state)
{
	size_t len = 0;
	uint64_t n = 0;

	(void)state;
	for (int i = 0; i < 20; i++) {
		assert_int_equal(open_forged(n++, "\x17", 1, &len), TLS_OK);
		assert_int_equal(len, 0);
	}
	assert_int_equal(open_forged(n++, "x\x17", 2, &len), TLS_OK);
	assert_int_equal(len, 1);
	while (open_forged(n, "\x17\0\0", 3, &len) == TLS_OK)
		n++;
	assert_true(n > 40 && n < 60);
	assert_true(tls_session_error(pair.server)[0]);
}

static void test_tickets_are_ignored_but_not_without_end(void **state)
{
	/* NewSessionTicket: lifetime, age, nonce, ticket, no extensions */
	static const uint8_t ticket[] = { 4, 0, 0, 17, 0, 0, 1, 0, 1, 2, 3, 4, 2, 0, 1, 0, 2, 9, 9, 0, 0, 22 };
	size_t len = 0;
	uint64_t n = 0;

	(void)state;
	for (; n < TLS_IDLE_RECORDS_MAX; n++) {
		assert_int_equal(open_forged_by(pair.server, n, ticket, sizeof(ticket), &len), TLS_OK);
		assert_int_equal(len, 0);
	}
	assert_int_equal(open_forged_by(pair.server, n, ticket, sizeof(ticket), &len), TLS_FAILED);
	assert_non_null(strstr(tls_session_error(pair.client), "in a row without data"));
}

static void test_records_that_no_peer_may_send(void **state)
{
	static uint8_t too_long[16384 + 2];
	static const struct {
		const char *what;
		const void *content;
		size_t len;
	} cases[] = {
		{ "no type at all", "\0\0\0\0", 4 },
		{ "an unknown type", "abc\x63", 4 },
		{ "a change of cipher", "\x01\x14", 2 },
		{ "an empty handshake record", "\x16", 1 },
		{ "a second client hello", "\x01\0\0\x02\x03\x03\x16", 7 },
		{ "a server hello", "\x02\0\0\x02\x03\x03\x16", 7 },
		{ "a certificate out of turn", "\x0b\0\0\x04\0\0\0\0\x16", 9 },
		{ "a finished out of turn", "\x14\0\0\x04\0\0\0\0\x16", 9 },
		{ "a certificate request", "\x0d\0\0\x03\0\0\0\x16", 8 },
		{ "a key update of two bytes", "\x18\0\0\x02\0\0\x16", 7 },
		{ "a key update that says neither", "\x18\0\0\x01\x07\x16", 6 },
		{ "a fatal alert", "\x02\x50\x15", 3 },
		{ "a cut alert", "\x02\x15", 2 },
		{ "a record of 2^14 + 1 bytes", too_long, sizeof(too_long) },
	};
	size_t len = 0;

	(void)state;
	memset(too_long, 'x', sizeof(too_long) - 1);
	too_long[sizeof(too_long) - 1] = 23;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (open_forged(0, cases[i].content, cases[i].len, &len) != TLS_FAILED)
			fail_msg("%s was taken", cases[i].what);
		if (!tls_session_error(pair.server)[0])
			fail_msg("%s: no sentence", cases[i].what);
		teardown(state);
		setup(state);
	}
}

static void test_unprotected_records_are_refused(void **state)
{
	static const struct {
		uint8_t bytes[40];
		const char *sentence;
	} cases[] = {
		{ { 21, 3, 3, 0, 2, 2, 80 }, "no TLS 1.3 record" }, /* an alert in the clear: anybody on the wire could send it */
		{ { 20, 3, 3, 0, 1, 1 }, "no TLS 1.3 record" },       { { 22, 3, 3, 0, 5, 24, 0, 0, 1, 0 }, "no TLS 1.3 record" },
		{ { 23, 3, 1, 0, 20 }, "no TLS 1.3 record" },         { { 23, 3, 3, 0, 16 }, "no TLS 1.3 record" }, /* a tag and no type */
		{ { 23, 3, 3, 0x41, 0x01 }, "no TLS 1.3 record" },                                                  /* 2^14 + 257 */
		{ { 'G', 'E', 'T', ' ', '/' }, "no TLS 1.3 record" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t in[40], *plain = NULL;
		size_t used = 0, len = 0;

		memcpy(in, cases[i].bytes, sizeof(in));
		assert_int_equal(tls_open(pair.server, in, sizeof(in), &used, &plain, &len), TLS_FAILED);
		assert_non_null(strstr(tls_session_error(pair.server), cases[i].sentence));
		teardown(state);
		setup(state);
	}
}

static void test_updates_are_answered_once_and_not_borne_without_end(void **state)
{
	uint8_t control[TLS_CONTROL_MAX], *plain = NULL;
	size_t used = 0, len = 0, n, opened = 0;

	(void)state;
	for (;; opened++) {
		assert_int_equal(tls_update_keys(pair.client), TLS_OK);
		n = tls_take_control(pair.client, control, sizeof(control));
		if (tls_open(pair.server, control, n, &used, &plain, &len) != TLS_OK)
			break;
		/* Until data goes out under the keys of the first answer. */
		assert_int_equal(tls_pair_carry_control(pair.server, pair.client), opened == 0 || opened == 10);
		if (opened == 9)
			tls_pair_carry(pair.server, pair.client, "data");
	}
	assert_int_equal(opened, TLS_IDLE_RECORDS_MAX);
	assert_non_null(strstr(tls_session_error(pair.server), "in a row without data"));
}

static void test_session_outlives_its_context(void **state)
{
	const struct pki *pki = pki_get();
	struct tls_ctx *ctx = NULL;
	struct cred_info info;
	char error[CRED_ERROR_BYTES];
	struct tls_pair p;

	(void)state;
	assert_int_equal(cred_load(pki->nodes[0].dir, NULL, &ctx, &info, error), 0);
	tls_pair_open(&p, ctx, pki->nodes[1].ctx);
	tls_ctx_unref(ctx);
	tls_pair_carry(p.client, p.server, "still there");
	assert_int_equal(tls_update_keys(p.client), TLS_OK);
	tls_pair_carry_control(p.client, p.server);
	tls_pair_carry(p.client, p.server, "with new keys");
	tls_pair_destroy(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_handshake_tells_who_and_how, setup, teardown),
		cmocka_unit_test(test_handshake_byte_by_byte),
		cmocka_unit_test_setup_teardown(test_records_of_all_sizes_both_ways, setup, teardown),
		cmocka_unit_test_setup_teardown(test_train_of_four_records, setup, teardown),
		cmocka_unit_test_setup_teardown(test_truncated_record_waits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_flipped_bit_is_refused_and_told, setup, teardown),
		cmocka_unit_test_setup_teardown(test_repeated_record_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_key_update_both_ways, setup, teardown),
		cmocka_unit_test_setup_teardown(test_both_update_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_keys_are_renewed_by_count, setup, teardown),
		cmocka_unit_test_setup_teardown(test_limit_lies_below_the_library_s, setup, teardown),
		cmocka_unit_test_setup_teardown(test_close_notify_is_the_end, setup, teardown),
		cmocka_unit_test_setup_teardown(test_control_comes_in_pieces, setup, teardown),
		cmocka_unit_test_setup_teardown(test_forged_data_opens, setup, teardown),
		cmocka_unit_test_setup_teardown(test_empty_records_are_borne_but_not_without_end, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tickets_are_ignored_but_not_without_end, setup, teardown),
		cmocka_unit_test_setup_teardown(test_records_that_no_peer_may_send, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unprotected_records_are_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_updates_are_answered_once_and_not_borne_without_end, setup, teardown),
		cmocka_unit_test_setup_teardown(test_session_outlives_its_context, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
