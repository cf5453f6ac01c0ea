/* SPDX-License-Identifier: GPL-3.0-or-later */
/* aead.h - one key of one of TLS 1.3's ciphers (RFC 8446, B.4), which seals and opens in place.
 * Two engines make the same bytes: Intel's multi-buffer library, where the build has it and the processor AVX2 or more, and wolfCrypt.
 * ChaCha20-Poly1305 is always wolfCrypt's. It knows nothing of records, nonces' order or limits: that is record.h.
 * Thread: aead_start in main, before there are others; a key stays with the thread that uses it. */
#ifndef CULVERT_TLS_AEAD_H
#define CULVERT_TLS_AEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum aead_cipher { AEAD_AES_128_GCM, AEAD_AES_256_GCM, AEAD_CHACHA20_POLY1305 };
enum aead_engine { AEAD_WOLFCRYPT, AEAD_IPSEC_MB };

enum {
	AEAD_KEY_MAX = 32,
	AEAD_NONCE_BYTES = 12,
	AEAD_TAG_BYTES = 16,
	AEAD_AAD_MAX = 64,           /* a record's head needs 5 */
	AEAD_TEXT_MAX = 16384 + 256, /* the longest text of a record (RFC 8446, 5.2) */
};

struct aead; /* a key, and what was computed from it once */

/* Chooses the fastest engine that this processor can run and that makes the same bytes as wolfCrypt. Without it: wolfCrypt. */
void aead_start(void);
/* Chooses by hand, for tests and measurements: keys that are made from now on are this engine's. false where there is no such engine. */
bool aead_choose(enum aead_engine engine);
/* "ipsec-mb with AVX-512 and VAES", "wolfCrypt". */
const char *aead_engine_text(void);

size_t aead_key_bytes(enum aead_cipher cipher);

/* key: aead_key_bytes of them, not kept. NULL: no memory, or the engine refuses. */
struct aead *aead_create(enum aead_cipher cipher, const uint8_t *key);
void aead_destroy(struct aead *a); /* wipes; NULL is welcome */
/* Takes another key of the same cipher in the place of the first. 0 or -EIO, after which a is only to be destroyed. */
int aead_rekey(struct aead *a, const uint8_t *key);

/* Seals the len_bytes (1..AEAD_TEXT_MAX) at text in place and writes the tag, which may lie right behind them. 0 or -EIO. */
int aead_seal(struct aead *a, const uint8_t nonce[AEAD_NONCE_BYTES], const uint8_t *aad, size_t aad_bytes, uint8_t *text, size_t len_bytes,
              uint8_t tag[AEAD_TAG_BYTES]);
/* Opens in place. 0; -EBADMSG: forged, and text is wiped; -EIO. */
int aead_open(struct aead *a, const uint8_t nonce[AEAD_NONCE_BYTES], const uint8_t *aad, size_t aad_bytes, uint8_t *text, size_t len_bytes,
              const uint8_t tag[AEAD_TAG_BYTES]);

#endif
