/* SPDX-License-Identifier: GPL-3.0-or-later */
/* signer.h - an authority in memory that signs requests: made, opened from its PEM texts, used.
 * The certificate that it signs is built from the request's name and key alone; all else is the caller's.
 * tls_init comes first. Thread: any, one at a time on one signer. */
#ifndef CULVERT_TLS_SIGNER_H
#define CULVERT_TLS_SIGNER_H

#include "tls/ca.h"
#include "tls/cert.h"
#include "tls/csr.h"

struct signer;

/* A new authority: a P-256 key and a self-signed certificate, as PEM texts; pem_free both. common_name: at most CA_COMMON_NAME_MAX bytes.
 * 0, -EINVAL, -EIO or -ENOMEM with both untouched. */
int signer_make(const char *common_name, int64_t not_before_s, int64_t not_after_s, struct pem_text *ret_cert, struct pem_text *ret_key);

/* Opens an authority: both texts NUL-terminated. Neither its time nor who signed it is looked at. 0, or -EINVAL, -EIO, -ENOMEM with a
 * sentence in error. */
int signer_open(const char *cert_pem, const char *key_pem, struct signer **ret, char error[CA_ERROR_BYTES]);
void signer_close(struct signer *s); /* NULL is welcome; the key is wiped */

/* A certificate for the request's name and key, with a random serial, both extended key usages and the key usage digitalSignature, appended
 * to *ret, which begins zeroed. common_name: for people only. It must lie within the authority's time. 0; -EINVAL, -EIO or -ENOMEM with a
 * sentence in error. */
int signer_sign(struct signer *s, const struct csr *request, const char *common_name, int64_t not_before_s, int64_t not_after_s,
                struct pem_text *ret, char error[CA_ERROR_BYTES]);

#endif
