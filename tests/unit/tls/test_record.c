/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Records of one direction: the bytes of RFC 8448, known answers for the other suites and for the next keys, and the limits. */
#include "tls/record.h"
#include "tls/tls.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { RECORD_CAP = TLS_RECORD_MAX };

static size_t from_hex(const char *hex, uint8_t *ret)
{
	size_t n = 0;
	unsigned byte;

	for (; hex[0] && sscanf(hex, "%2x", &byte) == 1; hex += 2)
		ret[n++] = (uint8_t)byte;
	return n;
}

static struct record_keys start(enum aead_cipher cipher, const char *secret_hex)
{
	struct record_keys k;
	uint8_t secret[RECORD_SECRET_MAX];
	size_t len = from_hex(secret_hex, secret);

	assert_int_equal(record_start(&k, cipher, secret, len), 0);
	return k;
}

/* Seals content as the next record, which must be these bytes, and opens it again by the same keys. */
static void expect_record(struct record_keys *sealing, struct record_keys *opening, enum record_type type, const void *content, size_t len,
                          const char *wanted_hex)
{
	uint8_t record[512], wanted[512];
	unsigned found_type = 0;
	size_t found_len = 0;

	memcpy(record + TLS_HEAD_BYTES, content, len);
	assert_int_equal(record_seal(sealing, type, record, len), 0);
	assert_int_equal(from_hex(wanted_hex, wanted), TLS_HEAD_BYTES + len + TLS_TAIL_BYTES);
	assert_memory_equal(record, wanted, TLS_HEAD_BYTES + len + TLS_TAIL_BYTES);
	assert_int_equal(record_open(opening, record, len + TLS_TAIL_BYTES, &found_type, &found_len), 0);
	assert_int_equal(found_type, type);
	assert_int_equal(found_len, len);
	assert_memory_equal(record + TLS_HEAD_BYTES, content, len);
}

/* RFC 8448, 3: client_application_traffic_secret_0 and server_application_traffic_secret_0 */
static const char client_secret[] = "9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5";
static const char server_secret[] = "a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643";

static void rfc_8448(void)
{
	struct record_keys client = start(AEAD_AES_128_GCM, client_secret), client_peer = start(AEAD_AES_128_GCM, client_secret);
	struct record_keys server = start(AEAD_AES_128_GCM, server_secret), server_peer = start(AEAD_AES_128_GCM, server_secret);
	uint8_t iv[AEAD_NONCE_BYTES], payload[50];

	from_hex("5b78923dee08579033e523d9", iv);
	assert_memory_equal(client.iv, iv, sizeof(iv));
	from_hex("cf782b88dd83549aadf1e984", iv);
	assert_memory_equal(server.iv, iv, sizeof(iv));
	for (size_t i = 0; i < sizeof(payload); i++)
		payload[i] = (uint8_t)i;
	expect_record(&client, &client_peer, RECORD_DATA, payload, sizeof(payload),
	              "1703030043a23f7054b62c94d0affafe8228ba55cbefacea42f914aa66bcab3f2b9819a8a5b46b395bd54a9a20441e2b62974e1f5a62"
	              "92a2977014bd1e3deae63aeebb21694915e4");
	/* The server's ticket was its record 0. */
	server.next = server_peer.next = 1;
	expect_record(&server, &server_peer, RECORD_DATA, payload, sizeof(payload),
	              "17030300432e937e11ef4ac740e538ad36005fc4a46932fc3225d05f82aa1b36e30efaf97d90e6dffc602dcb501a59a8fcc49c4bf2e5"
	              "f0a21c0047c2abf332540dd032e167c2955d");
	expect_record(&client, &client_peer, RECORD_ALERT, "\x01\x00", 2, "1703030013c9872760655666b74d7ff1153efd6db6d0b0e3");
	expect_record(&server, &server_peer, RECORD_ALERT, "\x01\x00", 2, "1703030013b58fd67166ebf599d24720cfbe7efa7a8864a9");
	record_stop(&client);
	record_stop(&client_peer);
	record_stop(&server);
	record_stop(&server_peer);
}

static void test_rfc_8448_by_wolfcrypt(void **state)
{
	(void)state;
	assert_true(aead_choose(AEAD_WOLFCRYPT));
	rfc_8448();
}

static void test_rfc_8448_by_ipsec_mb(void **state)
{
	(void)state;
	if (!aead_choose(AEAD_IPSEC_MB))
		skip();
	rfc_8448();
}

/* The secret is 00 01 02...; two records of "abcdefgh" under each of three keys. Computed by Python's cryptography (OpenSSL). */
static void known_answers(void)
{
	static const struct {
		enum aead_cipher cipher;
		size_t secret_bytes;
		const char *records[6];
	} suites[] = {
		{ AEAD_AES_128_GCM,
		  32,
		  { "1703030019446a845ace5008f5f1f10515d30a71f29daa52bad022a813b9",
		    "1703030019349f5d7bc8044efb9de0858661ed4382520082c8c657fa4283",
		    "1703030019bb560c027c54bdcd92aeaec0eca749dc4211fdd85977695cf0",
		    "17030300190e6206a47e654a731b477174af4c2a897aa354fe537ac8eae2",
		    "1703030019af89223d44eec66978bf5cc043cc2a01475ad2a5c31d0c1e59",
		    "1703030019b4ef612c53b1c3d114e0ef2a0462f0b6acd489a972ce3ca83e" } },
		{ AEAD_AES_256_GCM,
		  48,
		  { "170303001929551c58706bd1ed864076f9be99a32e356dd865d9755c594b",
		    "1703030019fc731a94a1286a4143843d8af12f64f6859c702bd4cd277f7c",
		    "17030300194df7c0e3e260f81ebd4518aa77eed10cb6ab3c65e1c2826bcb",
		    "1703030019afea752ac866567f244c882d407146fc6a3100a0e57abad7b5",
		    "1703030019361adde4b65c0cc5e11aeee61ef0747cc603787f15f0662876",
		    "1703030019e6b98e35213e87040468e68bab677b4ade1ebdcc0776812630" } },
		{ AEAD_CHACHA20_POLY1305,
		  32,
		  { "1703030019d3cc089a6213dd89f862054adbde417c5786d545fb48ea8811",
		    "17030300196ad756bee24aa4bb995e965bf46691a2cc77ec5807f2c90ddd",
		    "17030300197369529f57c7a1f95f9de56ed84f61d8c8b0fff4ff879101c8",
		    "170303001909d82220b1923d394d13a812a2e858cdda8b2f71edcc9aaac9",
		    "17030300195c658bd9825011af925130f1438dd4ffed19ba568852965f4a",
		    "17030300194da5fb1d2cd352606aa76f08abbf6650f84fcc4f5bff0a1ca0" } },
	};
	uint8_t secret[RECORD_SECRET_MAX];

	for (size_t i = 0; i < sizeof(secret); i++)
		secret[i] = (uint8_t)i;
	for (size_t i = 0; i < sizeof(suites) / sizeof(suites[0]); i++) {
		struct record_keys sealing, opening;

		assert_int_equal(record_start(&sealing, suites[i].cipher, secret, suites[i].secret_bytes), 0);
		assert_int_equal(record_start(&opening, suites[i].cipher, secret, suites[i].secret_bytes), 0);
		for (size_t k = 0; k < 6; k++) {
			if (k && k % 2 == 0) {
				assert_int_equal(record_renew(&sealing), 0);
				assert_int_equal(record_renew(&opening), 0);
				assert_int_equal(sealing.next, 0);
			}
			expect_record(&sealing, &opening, RECORD_DATA, "abcdefgh", 8, suites[i].records[k]);
		}
		record_stop(&sealing);
		record_stop(&opening);
	}
}

static void test_known_answers_by_wolfcrypt(void **state)
{
	(void)state;
	assert_true(aead_choose(AEAD_WOLFCRYPT));
	known_answers();
}

static void test_known_answers_by_ipsec_mb(void **state)
{
	(void)state;
	if (!aead_choose(AEAD_IPSEC_MB))
		skip();
	known_answers();
}

static void test_suites(void **state)
{
	static const struct {
		unsigned suite;
		enum aead_cipher cipher;
		size_t secret_bytes;
	} ours[] = { { 0x1301, AEAD_AES_128_GCM, 32 }, { 0x1302, AEAD_AES_256_GCM, 48 }, { 0x1303, AEAD_CHACHA20_POLY1305, 32 } };
	enum aead_cipher cipher;
	size_t len;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		assert_true(record_suite(ours[i].suite, &cipher, &len));
		assert_int_equal(cipher, ours[i].cipher);
		assert_int_equal(len, ours[i].secret_bytes);
	}
	assert_false(record_suite(0x1300, &cipher, &len));
	assert_false(record_suite(0x1304, &cipher, &len)); /* CCM */
	assert_false(record_suite(0xc02f, &cipher, &len)); /* TLS 1.2 */
}

/* The numbers of records with more than one byte, each with a nonce of its own. */
static void test_numbers_of_records(void **state)
{
	static const uint64_t numbers[] = { 0, 1, 255, 256, 65535, UINT64_C(1) << 32, UINT64_C(0x0123456789abcdef), UINT64_MAX - 1 };
	struct record_keys sealing = start(AEAD_AES_128_GCM, client_secret), opening = start(AEAD_AES_128_GCM, client_secret);
	uint8_t record[TLS_HEAD_BYTES + 1 + TLS_TAIL_BYTES], before[sizeof(record)] = { 0 };
	unsigned type;
	size_t len;

	(void)state;
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		sealing.next = opening.next = numbers[i];
		record[TLS_HEAD_BYTES] = 'x';
		assert_int_equal(record_seal(&sealing, RECORD_DATA, record, 1), 0);
		assert_memory_not_equal(record, before, sizeof(record));
		memcpy(before, record, sizeof(record));
		assert_int_equal(record_open(&opening, record, 1 + TLS_TAIL_BYTES, &type, &len), 0);
		assert_int_equal(opening.next, numbers[i] + 1);
	}
	/* And then there is none: a nonce is never used twice. */
	assert_int_equal(record_seal(&sealing, RECORD_DATA, record, 1), -EOVERFLOW);
	assert_int_equal(record_open(&opening, before, 1 + TLS_TAIL_BYTES, &type, &len), -EOVERFLOW);
	record_stop(&sealing);
	record_stop(&opening);
}

/* Seals inner as it is: content, type and padding. */
static int open_inner(struct record_keys *sealing, struct record_keys *opening, const uint8_t *inner, size_t inner_bytes,
                      unsigned *ret_type, size_t *ret_len)
{
	uint8_t *record = malloc(RECORD_CAP), nonce[AEAD_NONCE_BYTES];
	size_t body_bytes = inner_bytes + AEAD_TAG_BYTES;
	int r;

	memcpy(record, "\x17\x03\x03", 3);
	record[3] = (uint8_t)(body_bytes >> 8);
	record[4] = (uint8_t)body_bytes;
	memcpy(record + TLS_HEAD_BYTES, inner, inner_bytes);
	memcpy(nonce, sealing->iv, sizeof(nonce));
	nonce[11] ^= (uint8_t)sealing->next++;
	assert_int_equal(aead_seal(sealing->aead, nonce, record, TLS_HEAD_BYTES, record + TLS_HEAD_BYTES, inner_bytes,
	                           record + TLS_HEAD_BYTES + inner_bytes),
	                 0);
	r = record_open(opening, record, body_bytes, ret_type, ret_len);
	free(record);
	return r;
}

static void test_inner_text(void **state)
{
	struct record_keys sealing = start(AEAD_AES_128_GCM, client_secret), opening = start(AEAD_AES_128_GCM, client_secret);
	uint8_t *inner = calloc(1, AEAD_TEXT_MAX);
	unsigned type = 0;
	size_t len = 0;

	(void)state;
	/* The longest, all content, and all but its first byte padding. */
	memset(inner, 'x', RECORD_INNER_MAX - 1);
	inner[RECORD_INNER_MAX - 1] = RECORD_DATA;
	assert_int_equal(open_inner(&sealing, &opening, inner, RECORD_INNER_MAX, &type, &len), 0);
	assert_int_equal(len, 16384);
	memset(inner, 0, RECORD_INNER_MAX);
	inner[0] = RECORD_ALERT;
	assert_int_equal(open_inner(&sealing, &opening, inner, RECORD_INNER_MAX, &type, &len), 0);
	assert_int_equal(len, 0);
	assert_int_equal(type, RECORD_ALERT);
	/* A type that nobody knows is the caller's to refuse. */
	inner[0] = 'a';
	inner[1] = 99;
	assert_int_equal(open_inner(&sealing, &opening, inner, 2, &type, &len), 0);
	assert_int_equal(type, 99);
	assert_int_equal(len, 1);
	/* Zeros alone, and one byte too many. */
	memset(inner, 0, RECORD_INNER_MAX + 1);
	assert_int_equal(open_inner(&sealing, &opening, inner, 1, &type, &len), -EPROTO);
	assert_int_equal(open_inner(&sealing, &opening, inner, RECORD_INNER_MAX, &type, &len), -EPROTO);
	inner[0] = RECORD_DATA;
	assert_int_equal(open_inner(&sealing, &opening, inner, RECORD_INNER_MAX + 1, &type, &len), -EMSGSIZE);
	free(inner);
	record_stop(&sealing);
	record_stop(&opening);
}

static void test_secrets_are_wiped(void **state)
{
	static const struct record_keys nothing;
	struct record_keys k = start(AEAD_AES_128_GCM, client_secret);
	uint8_t first[RECORD_SECRET_MAX];

	(void)state;
	memcpy(first, k.secret, sizeof(first));
	assert_int_equal(record_renew(&k), 0);
	assert_memory_not_equal(k.secret, first, 32);
	record_stop(&k);
	assert_memory_equal(&k, &nothing, sizeof(k));
	record_stop(&k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rfc_8448_by_wolfcrypt),
		cmocka_unit_test(test_rfc_8448_by_ipsec_mb),
		cmocka_unit_test(test_known_answers_by_wolfcrypt),
		cmocka_unit_test(test_known_answers_by_ipsec_mb),
		cmocka_unit_test(test_suites),
		cmocka_unit_test(test_numbers_of_records),
		cmocka_unit_test(test_inner_text),
		cmocka_unit_test(test_secrets_are_wiped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
