/* SPDX-License-Identifier: GPL-3.0-or-later */
/* crl.h - a certificate revocation list, read as far as a message to people needs it: whose it is and until when. Verifying it is the
 * library's.
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
};

/* 0 or -EINVAL. */
int crl_read(const uint8_t *der, size_t len_bytes, struct crl *ret);
/* Whether the certificate's subject is the list's issuer, byte for byte. */
bool crl_is_of(const struct crl *crl, const uint8_t *cert_der, size_t cert_len_bytes);

#endif
