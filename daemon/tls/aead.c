/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tls/aead.h"

#include <wolfssl/wolfcrypt/settings.h>
#include <wolfssl/wolfcrypt/aes.h>
#include <wolfssl/wolfcrypt/chacha20_poly1305.h>
#include <wolfssl/wolfcrypt/error-crypt.h>

#ifdef CULVERT_IPSEC_MB
#include <intel-ipsec-mb.h>
#endif

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* One operation: what is sealed or opened lies at text, and the tag is written or read. */
struct operation {
	const uint8_t *nonce, *aad;
	size_t aad_bytes;
	uint8_t *text;
	size_t len_bytes;
};

/* One cipher by one engine. All give 0 or a negative errno. */
struct method {
	int (*set_key)(struct aead *a, const uint8_t *key);
	int (*seal)(struct aead *a, const struct operation *o, uint8_t *tag);
	int (*open)(struct aead *a, const struct operation *o, const uint8_t *tag);
	void (*done)(struct aead *a);
};

struct aead {
	union {
#ifdef CULVERT_IPSEC_MB
		struct gcm_key_data expanded; /* aligned to a cache line, and with it the whole */
#endif
		Aes aes;
		uint8_t plain[AEAD_KEY_MAX];
	} key;
	const struct method *method;
	enum aead_cipher cipher;
};

/* --- wolfCrypt --- */

static int wolf_gcm_set_key(struct aead *a, const uint8_t *key)
{
	return wc_AesGcmSetKey(&a->key.aes, key, (word32)aead_key_bytes(a->cipher)) ? -EIO : 0;
}

static int wolf_gcm_seal(struct aead *a, const struct operation *o, uint8_t *tag)
{
	return wc_AesGcmEncrypt(&a->key.aes, o->text, o->text, (word32)o->len_bytes, o->nonce, AEAD_NONCE_BYTES, tag, AEAD_TAG_BYTES,
	                        o->aad, (word32)o->aad_bytes)
	               ? -EIO
	               : 0;
}

static int wolf_gcm_open(struct aead *a, const struct operation *o, const uint8_t *tag)
{
	int r = wc_AesGcmDecrypt(&a->key.aes, o->text, o->text, (word32)o->len_bytes, o->nonce, AEAD_NONCE_BYTES, tag, AEAD_TAG_BYTES,
	                         o->aad, (word32)o->aad_bytes);

	return r == 0 ? 0 : r == AES_GCM_AUTH_E ? -EBADMSG : -EIO;
}

static void wolf_gcm_done(struct aead *a)
{
	wc_AesFree(&a->key.aes);
}

static int chacha_set_key(struct aead *a, const uint8_t *key)
{
	memcpy(a->key.plain, key, AEAD_KEY_MAX);
	return 0;
}

static int chacha_seal(struct aead *a, const struct operation *o, uint8_t *tag)
{
	return wc_ChaCha20Poly1305_Encrypt(a->key.plain, o->nonce, o->aad, (word32)o->aad_bytes, o->text, (word32)o->len_bytes, o->text,
	                                   tag)
	               ? -EIO
	               : 0;
}

static int chacha_open(struct aead *a, const struct operation *o, const uint8_t *tag)
{
	int r = wc_ChaCha20Poly1305_Decrypt(a->key.plain, o->nonce, o->aad, (word32)o->aad_bytes, o->text, (word32)o->len_bytes, tag,
	                                    o->text);

	return r == 0 ? 0 : r == MAC_CMP_FAILED_E ? -EBADMSG : -EIO;
}

static void chacha_done(struct aead *a)
{
	(void)a; /* aead_destroy wipes it all */
}

static const struct method wolf_gcm = { wolf_gcm_set_key, wolf_gcm_seal, wolf_gcm_open, wolf_gcm_done };
static const struct method wolf_chacha = { chacha_set_key, chacha_seal, chacha_open, chacha_done };

/* --- Intel's multi-buffer library: its calls for one text, which need no manager once they are known --- */

#ifdef CULVERT_IPSEC_MB

static struct {
	aes_gcm_pre_t set_key_128, set_key_256;
	aes_gcm_enc_dec_t seal_128, seal_256, open_128, open_256;
	const char *text; /* NULL: not usable here */
} mb;

static int mb_set_key(struct aead *a, const uint8_t *key)
{
	(a->cipher == AEAD_AES_128_GCM ? mb.set_key_128 : mb.set_key_256)(key, &a->key.expanded);
	return 0;
}

static int mb_seal(struct aead *a, const struct operation *o, uint8_t *tag)
{
	aes_gcm_enc_dec_t seal = a->cipher == AEAD_AES_128_GCM ? mb.seal_128 : mb.seal_256;
	struct gcm_context_data context;

	seal(&a->key.expanded, &context, o->text, o->text, o->len_bytes, o->nonce, o->aad, o->aad_bytes, tag, AEAD_TAG_BYTES);
	return 0;
}

/* The library computes the tag and leaves the comparison to its caller: in constant time. */
static int mb_open(struct aead *a, const struct operation *o, const uint8_t *tag)
{
	aes_gcm_enc_dec_t open = a->cipher == AEAD_AES_128_GCM ? mb.open_128 : mb.open_256;
	struct gcm_context_data context;
	uint8_t computed[AEAD_TAG_BYTES], difference = 0;

	open(&a->key.expanded, &context, o->text, o->text, o->len_bytes, o->nonce, o->aad, o->aad_bytes, computed, AEAD_TAG_BYTES);
	for (size_t i = 0; i < AEAD_TAG_BYTES; i++)
		difference |= computed[i] ^ tag[i];
	return difference ? -EBADMSG : 0;
}

static void mb_done(struct aead *a)
{
	(void)a; /* aead_destroy wipes it all */
}

static const struct method mb_gcm = { mb_set_key, mb_seal, mb_open, mb_done };

/* Finds the calls for this processor. The manager holds queues that nobody uses here, so it goes again. */
static void mb_find(void)
{
	IMB_MGR *manager = alloc_mb_mgr(0);
	IMB_ARCH arch = IMB_ARCH_NONE;

	if (!manager)
		return;
	init_mb_mgr_auto(manager, &arch);
	/* Below AVX2 it is no faster than wolfCrypt. What did not pass the library's own test is not used. */
	if (imb_get_errno(manager) == 0 && (arch == IMB_ARCH_AVX2 || arch == IMB_ARCH_AVX512) &&
	    (manager->features & IMB_FEATURE_SELF_TEST_PASS)) {
		mb.set_key_128 = manager->gcm128_pre;
		mb.set_key_256 = manager->gcm256_pre;
		mb.seal_128 = manager->gcm128_enc;
		mb.seal_256 = manager->gcm256_enc;
		mb.open_128 = manager->gcm128_dec;
		mb.open_256 = manager->gcm256_dec;
		if (arch == IMB_ARCH_AVX2)
			mb.text = "ipsec-mb with AVX2";
		else if (manager->features & IMB_FEATURE_VAES)
			mb.text = "ipsec-mb with AVX-512 and VAES";
		else
			mb.text = "ipsec-mb with AVX-512";
	}
	free_mb_mgr(manager);
}

#endif

/* --- which engine --- */

static enum aead_engine chosen = AEAD_WOLFCRYPT;

static const struct method *method_of(enum aead_cipher cipher)
{
	if (cipher == AEAD_CHACHA20_POLY1305)
		return &wolf_chacha;
#ifdef CULVERT_IPSEC_MB
	if (chosen == AEAD_IPSEC_MB)
		return &mb_gcm;
#endif
	return &wolf_gcm;
}

bool aead_choose(enum aead_engine engine)
{
	if (engine == AEAD_WOLFCRYPT) {
		chosen = AEAD_WOLFCRYPT;
		return true;
	}
#ifdef CULVERT_IPSEC_MB
	if (!mb.text)
		mb_find();
	if (mb.text) {
		chosen = AEAD_IPSEC_MB;
		return true;
	}
#endif
	return false;
}

#ifdef CULVERT_IPSEC_MB

/* Long enough for every loop of an engine, and odd. */
enum { PROBE_BYTES = 2 * 1024 + 77 };

static bool probe(enum aead_engine engine, enum aead_cipher cipher, uint8_t ret[PROBE_BYTES + AEAD_TAG_BYTES])
{
	static const uint8_t key[AEAD_KEY_MAX] = { 1, 2, 3 }, nonce[AEAD_NONCE_BYTES] = { 4, 5, 6 }, aad[] = { 23, 3, 3, 7, 8 };
	struct aead *a = aead_choose(engine) ? aead_create(cipher, key) : NULL;
	bool is_made = false;

	if (a) {
		memset(ret, 0x5a, PROBE_BYTES);
		is_made = aead_seal(a, nonce, aad, sizeof(aad), ret, PROBE_BYTES, ret + PROBE_BYTES) == 0;
	}
	aead_destroy(a);
	return is_made;
}

static bool engines_agree(enum aead_cipher cipher)
{
	uint8_t one[PROBE_BYTES + AEAD_TAG_BYTES], other[sizeof(one)];

	return probe(AEAD_WOLFCRYPT, cipher, one) && probe(AEAD_IPSEC_MB, cipher, other) && memcmp(one, other, sizeof(one)) == 0;
}

void aead_start(void)
{
	if (!engines_agree(AEAD_AES_128_GCM) || !engines_agree(AEAD_AES_256_GCM) || !aead_choose(AEAD_IPSEC_MB))
		chosen = AEAD_WOLFCRYPT;
}

const char *aead_engine_text(void)
{
	return chosen == AEAD_IPSEC_MB ? mb.text : "wolfCrypt";
}

#else

void aead_start(void)
{
	chosen = AEAD_WOLFCRYPT;
}

const char *aead_engine_text(void)
{
	return "wolfCrypt";
}

#endif

/* --- keys --- */

size_t aead_key_bytes(enum aead_cipher cipher)
{
	return cipher == AEAD_AES_128_GCM ? 16 : AEAD_KEY_MAX;
}

struct aead *aead_create(enum aead_cipher cipher, const uint8_t *key)
{
	struct aead *a = aligned_alloc(_Alignof(struct aead), sizeof(*a));

	if (!a)
		return NULL;
	memset(a, 0, sizeof(*a));
	a->cipher = cipher;
	a->method = method_of(cipher);
	if (a->method == &wolf_gcm && wc_AesInit(&a->key.aes, NULL, INVALID_DEVID)) {
		free(a);
		return NULL;
	}
	if (a->method->set_key(a, key)) {
		aead_destroy(a);
		return NULL;
	}
	return a;
}

void aead_destroy(struct aead *a)
{
	if (!a)
		return;
	a->method->done(a);
	explicit_bzero(a, sizeof(*a));
	free(a);
}

int aead_rekey(struct aead *a, const uint8_t *key)
{
	return a->method->set_key(a, key);
}

/* The engines are assembly, into which no sanitizer sees: what goes in is bounded here. */
static void operation_check(const struct operation *o)
{
	assert(o->text && o->len_bytes >= 1 && o->len_bytes <= AEAD_TEXT_MAX);
	assert(o->aad && o->aad_bytes >= 1 && o->aad_bytes <= AEAD_AAD_MAX);
}

int aead_seal(struct aead *a, const uint8_t nonce[AEAD_NONCE_BYTES], const uint8_t *aad, size_t aad_bytes, uint8_t *text, size_t len_bytes,
              uint8_t tag[AEAD_TAG_BYTES])
{
	struct operation o = { .nonce = nonce, .aad = aad, .aad_bytes = aad_bytes, .text = text, .len_bytes = len_bytes };

	operation_check(&o);
	return a->method->seal(a, &o, tag);
}

int aead_open(struct aead *a, const uint8_t nonce[AEAD_NONCE_BYTES], const uint8_t *aad, size_t aad_bytes, uint8_t *text, size_t len_bytes,
              const uint8_t tag[AEAD_TAG_BYTES])
{
	struct operation o = { .nonce = nonce, .aad = aad, .aad_bytes = aad_bytes, .text = text, .len_bytes = len_bytes };
	int r;

	operation_check(&o);
	r = a->method->open(a, &o, tag);
	/* Text that nobody vouches for is not left lying about. */
	if (r)
		memset(text, 0, len_bytes);
	return r;
}
