/* SPDX-License-Identifier: GPL-3.0-or-later */
/* crl.h - a certificate revocation list: whose it is, until when, and what it revokes. Verifying it is the library's.
 * Plain functions; any thread. */
#ifndef CULVERT_TLS_CRL_H
#define CULVERT_TLS_CRL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct crl {
	const uint8_t *issuer; /* points into the list: the content of the issuer's Name */
	size_t issuer_len_bytes;
	bool has_next_update;
	int64_t next_update_s;
	const uint8_t *revoked; /* points into the list: the content of revokedCertificates; NULL: there are none */
	size_t revoked_len_bytes;
};

/* 0 or -EINVAL. */
int crl_read(const uint8_t *der, size_t len_bytes, struct crl *ret);
/* Whether the certificate's subject is the list's issuer, byte for byte. */
bool crl_is_of(const struct crl *crl, const uint8_t *cert_der, size_t cert_len_bytes);

/* Whether it names this serial number: hex, as struct tls_peer has it. */
bool crl_revokes(const struct crl *crl, const char *serial);

#endif
