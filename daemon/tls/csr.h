/* SPDX-License-Identifier: GPL-3.0-or-later */
/* csr.h - certificate requests (PKCS#10, RFC 2986) of the one form that we make: an EC P-256 key, one subject alternative name, signed by
 * ECDSA with SHA-256. What is read from one is the key and the name, and that whoever made it has the key; a subject, usages and
 * everything else that it may ask for are not read, so that they can not be granted.
 * tls_init comes first. Thread: any. */
#ifndef CULVERT_TLS_CSR_H
#define CULVERT_TLS_CSR_H

#include "tls/pem.h"
#include "tls/tls.h"

enum {
	CSR_POINT_BYTES = 65,    /* of an uncompressed P-256 point (SEC 1, 2.3.3) */
	CSR_DER_MAX = 1 << 10,   /* of one that we make: a name of 255 bytes and 200 bytes of frame */
	CSR_READ_MAX = 16 << 10, /* of one that is read */
	CSR_FAULT_BYTES = 400,
};

struct csr {
	struct tls_name name;
	uint8_t point[CSR_POINT_BYTES]; /* the public key */
};

/* Makes a new key and a request for name. *ret_key is a PEM text (PRIVATE KEY), *ret_request one too (CERTIFICATE REQUEST); pem_free both.
 * 0, -EINVAL (no name), -EIO or -ENOMEM with both untouched. */
int csr_make(const struct tls_name *name, struct pem_text *ret_key, struct pem_text *ret_request);

/* Reads and verifies a request. 0; or -EINVAL with the end of a sentence that begins with "the request" in fault: what is wrong and what
 * would be right; or -EIO, the library's. */
int csr_read(const uint8_t *der, size_t len_bytes, struct csr *ret, char fault[CSR_FAULT_BYTES]);
/* The same from a PEM text, of which it must be the only block. */
int csr_read_pem(const char *text, size_t len_bytes, struct csr *ret, char fault[CSR_FAULT_BYTES]);

#endif
