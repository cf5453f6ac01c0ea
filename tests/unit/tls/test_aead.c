/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Both engines make the same bytes, at every length that a record can have, and touch nothing beside them. */
#include "tls/aead.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { GUARD_BYTES = 64, GUARD = 0xa5 };

static const uint8_t key[AEAD_KEY_MAX] = { 9, 8, 7, 6, 5, 4, 3, 2, 1 }, other_key[AEAD_KEY_MAX] = { 1 };
static const uint8_t nonce[AEAD_NONCE_BYTES] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 };
static const uint8_t head[5] = { 23, 3, 3, 1, 2 };

static struct aead *make(enum aead_engine engine, enum aead_cipher cipher)
{
	struct aead *a;

	if (!aead_choose(engine)) {
		fprintf(stderr, "skipped: this processor, or this build, has no such engine\n");
		skip();
	}
	a = aead_create(cipher, key);
	assert_non_null(a);
	return a;
}

/* Text, tag, and a guard on both sides. */
struct text {
	uint8_t bytes[GUARD_BYTES + AEAD_TEXT_MAX + AEAD_TAG_BYTES + GUARD_BYTES];
};

/* What a text of this length holds. */
static const uint8_t *pattern(size_t len)
{
	static uint8_t bytes[AEAD_TEXT_MAX + 256];

	for (size_t i = 0; !bytes[1] && i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 31 + (i >> 8));
	return bytes + len % 256;
}

static uint8_t *text_fill(struct text *t, size_t len)
{
	memset(t->bytes, GUARD, GUARD_BYTES);
	memset(t->bytes + GUARD_BYTES + len + AEAD_TAG_BYTES, GUARD, GUARD_BYTES);
	memcpy(t->bytes + GUARD_BYTES, pattern(len), len);
	return t->bytes + GUARD_BYTES;
}

static void text_check(const struct text *t, size_t len)
{
	uint8_t guard[GUARD_BYTES];

	memset(guard, GUARD, sizeof(guard));
	assert_memory_equal(t->bytes, guard, sizeof(guard));
	assert_memory_equal(t->bytes + GUARD_BYTES + len + AEAD_TAG_BYTES, guard, sizeof(guard));
}

static void compare(enum aead_cipher cipher)
{
	struct aead *other = make(AEAD_IPSEC_MB, cipher), *one = make(AEAD_WOLFCRYPT, cipher);
	struct text *a = malloc(sizeof(*a)), *b = malloc(sizeof(*b));

	for (size_t len = 1; len <= AEAD_TEXT_MAX; len++) {
		uint8_t *at = text_fill(a, len), *bt = text_fill(b, len);

		assert_int_equal(aead_seal(one, nonce, head, sizeof(head), at, len, at + len), 0);
		assert_int_equal(aead_seal(other, nonce, head, sizeof(head), bt, len, bt + len), 0);
		assert_memory_equal(at, bt, len + AEAD_TAG_BYTES);
		text_check(b, len);
		/* Each opens what the other sealed. */
		assert_int_equal(aead_open(other, nonce, head, sizeof(head), at, len, at + len), 0);
		assert_int_equal(aead_open(one, nonce, head, sizeof(head), bt, len, bt + len), 0);
		assert_memory_equal(at, pattern(len), len);
		assert_memory_equal(bt, pattern(len), len);
		text_check(a, len);
	}
	free(a);
	free(b);
	aead_destroy(one);
	aead_destroy(other);
}

static void test_both_engines_aes_128(void **state)
{
	(void)state;
	compare(AEAD_AES_128_GCM);
}

static void test_both_engines_aes_256(void **state)
{
	(void)state;
	compare(AEAD_AES_256_GCM);
}

static void refuse(enum aead_engine engine, enum aead_cipher cipher)
{
	static const size_t lengths[] = { 1, 15, 16, 17, 255, 256, 257, 1000, AEAD_TEXT_MAX };
	struct aead *a = make(engine, cipher);
	struct text *t = malloc(sizeof(*t));

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		size_t len = lengths[i];

		/* A bit of the text's ends, of each byte of the tag, of the nonce and of the head. */
		for (size_t k = 0; k < 2 + AEAD_TAG_BYTES + 2; k++) {
			uint8_t *text = text_fill(t, len), n[AEAD_NONCE_BYTES], h[sizeof(head)];
			uint8_t *wrong = k == 0 ? text : k == 1 ? text + len - 1 : text + len + k - 2;

			memcpy(n, nonce, sizeof(n));
			memcpy(h, head, sizeof(h));
			assert_int_equal(aead_seal(a, n, h, sizeof(h), text, len, text + len), 0);
			if (k == 2 + AEAD_TAG_BYTES)
				wrong = &n[11];
			else if (k == 3 + AEAD_TAG_BYTES)
				wrong = &h[4];
			*wrong ^= 1 << (k % 8);
			assert_int_equal(aead_open(a, n, h, sizeof(h), text, len, text + len), -EBADMSG);
			/* Nothing of it is left to be taken by mistake. */
			for (size_t b = 0; b < len; b++)
				assert_int_equal(text[b], 0);
			text_check(t, len);
		}
	}
	free(t);
	aead_destroy(a);
}

static void test_forged_by_wolfcrypt(void **state)
{
	(void)state;
	refuse(AEAD_WOLFCRYPT, AEAD_AES_128_GCM);
	refuse(AEAD_WOLFCRYPT, AEAD_AES_256_GCM);
	refuse(AEAD_WOLFCRYPT, AEAD_CHACHA20_POLY1305);
}

static void test_forged_by_ipsec_mb(void **state)
{
	(void)state;
	refuse(AEAD_IPSEC_MB, AEAD_AES_128_GCM);
	refuse(AEAD_IPSEC_MB, AEAD_AES_256_GCM);
}

/* A key that took another one's place is as one that was made anew. */
static void rekey(enum aead_engine engine, enum aead_cipher cipher)
{
	struct aead *old = make(engine, cipher), *fresh;
	struct text *a = malloc(sizeof(*a)), *b = malloc(sizeof(*b));
	uint8_t *at = text_fill(a, 1000), *bt = text_fill(b, 1000);

	fresh = aead_create(cipher, other_key);
	assert_non_null(fresh);
	assert_int_equal(aead_seal(old, nonce, head, sizeof(head), at, 1000, at + 1000), 0);
	at = text_fill(a, 1000);
	assert_int_equal(aead_rekey(old, other_key), 0);
	assert_int_equal(aead_seal(old, nonce, head, sizeof(head), at, 1000, at + 1000), 0);
	assert_int_equal(aead_seal(fresh, nonce, head, sizeof(head), bt, 1000, bt + 1000), 0);
	assert_memory_equal(at, bt, 1000 + AEAD_TAG_BYTES);
	free(a);
	free(b);
	aead_destroy(old);
	aead_destroy(fresh);
}

static void test_rekey_by_wolfcrypt(void **state)
{
	(void)state;
	rekey(AEAD_WOLFCRYPT, AEAD_AES_128_GCM);
	rekey(AEAD_WOLFCRYPT, AEAD_AES_256_GCM);
	rekey(AEAD_WOLFCRYPT, AEAD_CHACHA20_POLY1305);
}

static void test_rekey_by_ipsec_mb(void **state)
{
	(void)state;
	rekey(AEAD_IPSEC_MB, AEAD_AES_128_GCM);
	rekey(AEAD_IPSEC_MB, AEAD_AES_256_GCM);
}

/* The key stays where it was made, whichever engine is chosen afterwards. */
static void test_keys_keep_their_engine(void **state)
{
	struct aead *one = make(AEAD_WOLFCRYPT, AEAD_AES_128_GCM);
	struct text *t = malloc(sizeof(*t));
	uint8_t *text = text_fill(t, 100);

	(void)state;
	aead_start();
	assert_non_null(aead_engine_text());
	assert_int_equal(aead_seal(one, nonce, head, sizeof(head), text, 100, text + 100), 0);
	assert_int_equal(aead_open(one, nonce, head, sizeof(head), text, 100, text + 100), 0);
	free(t);
	aead_destroy(one);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_both_engines_aes_128),   cmocka_unit_test(test_both_engines_aes_256),
		cmocka_unit_test(test_forged_by_wolfcrypt),    cmocka_unit_test(test_forged_by_ipsec_mb),
		cmocka_unit_test(test_rekey_by_wolfcrypt),     cmocka_unit_test(test_rekey_by_ipsec_mb),
		cmocka_unit_test(test_keys_keep_their_engine),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
