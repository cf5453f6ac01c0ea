/* SPDX-License-Identifier: GPL-3.0-or-later */
/* make.h - keys and certificates, made in memory: what ca (folders) and signer (requests) have in common.
 * For this folder only. Thread: any. */
#ifndef CULVERT_TLS_MAKE_H
#define CULVERT_TLS_MAKE_H

#include "tls/ca.h"
#include "tls/folder.h"

#include <wolfssl/wolfcrypt/settings.h>
#include <wolfssl/wolfcrypt/ecc.h>
#include <wolfssl/wolfcrypt/random.h>

/* A new P-256 key; wc_ecc_free in any case. 0 or -EIO. */
int make_key(ecc_key *key, WC_RNG *rng);
/* PKCS#8 with the public part in it. */
int make_key_der(ecc_key *key, uint8_t der[CA_DER_MAX], size_t *ret_len);
/* The same as a block of PEM behind what is in ret. 0, -EIO or -ENOMEM. */
int make_key_pem(ecc_key *key, struct pem_text *ret);

/* A self-signed authority of key. 0, -EIO or -ENOMEM. */
int make_authority(ecc_key *key, const char *common_name, int64_t not_before_s, int64_t not_after_s, WC_RNG *rng, uint8_t der[CA_DER_MAX],
                   size_t *ret_len);

/* A leaf by ca for key, of which only the public part is used. 0, -EINVAL (the names do not fit), -EIO or -ENOMEM. */
int make_leaf(struct ca *ca, ecc_key *key, const struct ca_leaf *leaf, WC_RNG *rng, uint8_t *der, size_t cap_bytes, size_t *ret_len);

#endif
