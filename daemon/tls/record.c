/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tls/record.h"

#include "tls/tls.h"

#include <wolfssl/wolfcrypt/settings.h>
#include <wolfssl/wolfcrypt/hash.h>
#include <wolfssl/wolfcrypt/kdf.h>

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <string.h>

static_assert(TLS_TAIL_BYTES == 1 + AEAD_TAG_BYTES, "type and tag");
static_assert(TLS_RECORD_MAX == TLS_HEAD_BYTES + AEAD_TEXT_MAX, "the longest record is the longest text, its tag included");

bool record_suite(unsigned suite, enum aead_cipher *ret_cipher, size_t *ret_secret_bytes)
{
	switch (suite) {
	case 0x1301:
		*ret_cipher = AEAD_AES_128_GCM;
		*ret_secret_bytes = 32;
		return true;
	case 0x1302:
		*ret_cipher = AEAD_AES_256_GCM;
		*ret_secret_bytes = 48;
		return true;
	case 0x1303:
		*ret_cipher = AEAD_CHACHA20_POLY1305;
		*ret_secret_bytes = 32;
		return true;
	default:
		return false;
	}
}

/* HKDF-Expand-Label (RFC 8446, 7.1) with an empty context. */
static int expand(const struct record_keys *k, const char *label, uint8_t *ret, size_t len_bytes)
{
	static const char prefix[] = "tls13 ";
	int hash = k->secret_bytes == 48 ? WC_SHA384 : WC_SHA256;

	return wc_Tls13_HKDF_Expand_Label(ret, (word32)len_bytes, k->secret, k->secret_bytes, (const byte *)prefix, sizeof(prefix) - 1,
	                                  (const byte *)label, (word32)strlen(label), NULL, 0, hash)
	               ? -EIO
	               : 0;
}

/* The key and the IV of k's secret; its first record is number 0. */
static int keys_expand(struct record_keys *k)
{
	uint8_t key[AEAD_KEY_MAX];
	int r = expand(k, "key", key, aead_key_bytes(k->cipher));

	if (!r)
		r = expand(k, "iv", k->iv, sizeof(k->iv));
	if (!r && k->aead) {
		r = aead_rekey(k->aead, key);
	} else if (!r) {
		k->aead = aead_create(k->cipher, key);
		r = k->aead ? 0 : -ENOMEM;
	}
	explicit_bzero(key, sizeof(key));
	k->next = 0;
	return r;
}

int record_start(struct record_keys *k, enum aead_cipher cipher, const uint8_t *secret, size_t secret_bytes)
{
	int r;

	assert(secret_bytes == 32 || secret_bytes == RECORD_SECRET_MAX);
	*k = (struct record_keys){ .cipher = cipher, .secret_bytes = (uint8_t)secret_bytes };
	memcpy(k->secret, secret, secret_bytes);
	r = keys_expand(k);
	if (r)
		record_stop(k);
	return r;
}

int record_renew(struct record_keys *k)
{
	uint8_t next[RECORD_SECRET_MAX];
	int r = expand(k, "traffic upd", next, k->secret_bytes);

	if (!r) {
		memcpy(k->secret, next, k->secret_bytes);
		r = keys_expand(k);
	}
	explicit_bzero(next, sizeof(next));
	return r;
}

void record_stop(struct record_keys *k)
{
	aead_destroy(k->aead);
	explicit_bzero(k, sizeof(*k));
}

/* The IV, and in its last eight bytes the record's number (RFC 8446, 5.3). */
static void nonce_of(const struct record_keys *k, uint8_t ret[AEAD_NONCE_BYTES])
{
	uint64_t low;

	memcpy(ret, k->iv, AEAD_NONCE_BYTES);
	memcpy(&low, ret + AEAD_NONCE_BYTES - sizeof(low), sizeof(low));
	low ^= htobe64(k->next);
	memcpy(ret + AEAD_NONCE_BYTES - sizeof(low), &low, sizeof(low));
}

int record_seal(struct record_keys *k, enum record_type type, uint8_t *record, size_t len_bytes)
{
	size_t inner_bytes = len_bytes + 1, body_bytes = inner_bytes + AEAD_TAG_BYTES;
	uint8_t nonce[AEAD_NONCE_BYTES];
	int r;

	assert(inner_bytes <= RECORD_INNER_MAX);
	if (k->next == UINT64_MAX)
		return -EOVERFLOW;
	record[0] = RECORD_DATA;
	record[1] = record[2] = 3;
	record[3] = (uint8_t)(body_bytes >> 8);
	record[4] = (uint8_t)body_bytes;
	record[TLS_HEAD_BYTES + len_bytes] = (uint8_t)type;
	nonce_of(k, nonce);
	r = aead_seal(k->aead, nonce, record, TLS_HEAD_BYTES, record + TLS_HEAD_BYTES, inner_bytes, record + TLS_HEAD_BYTES + inner_bytes);
	if (!r)
		k->next++;
	return r;
}

int record_open(struct record_keys *k, uint8_t *record, size_t body_bytes, unsigned *ret_type, size_t *ret_len)
{
	uint8_t nonce[AEAD_NONCE_BYTES], *inner = record + TLS_HEAD_BYTES;
	size_t len;
	int r;

	assert(body_bytes > AEAD_TAG_BYTES && body_bytes <= AEAD_TEXT_MAX);
	if (k->next == UINT64_MAX)
		return -EOVERFLOW;
	len = body_bytes - AEAD_TAG_BYTES;
	nonce_of(k, nonce);
	r = aead_open(k->aead, nonce, record, TLS_HEAD_BYTES, inner, len, inner + len);
	if (r)
		return r;
	k->next++;
	if (len > RECORD_INNER_MAX)
		return -EMSGSIZE;
	while (len && !inner[len - 1])
		len--;
	if (!len)
		return -EPROTO;
	*ret_type = inner[len - 1];
	*ret_len = len - 1;
	return 0;
}
