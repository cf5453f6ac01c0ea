/* SPDX-License-Identifier: GPL-3.0-or-later */
/* cert.h - one X.509 certificate, read into plain data. Nothing is verified here: neither a signature nor the time.
 * Plain functions; any thread. */
#ifndef CULVERT_TLS_CERT_H
#define CULVERT_TLS_CERT_H

#include "tls/tls.h"

enum { CERT_SUBJECT_BYTES = 128, CERT_ID_BYTES = 20, CERT_TIME_BYTES = 32, CERT_FAULT_BYTES = 192 };

struct cert {
	struct tls_peer peer; /* not_after_s is this certificate's own */
	int64_t not_before_s;
	char subject[CERT_SUBJECT_BYTES], issuer[CERT_SUBJECT_BYTES]; /* "/CN=..."; printable, cut where longer */
	bool is_authority;                                            /* CA:TRUE, and keyCertSign where there is a key usage */
	bool is_self_issued;                                          /* subject and issuer are the same */
	bool has_server_usage, has_client_usage;                      /* named one by one; anyExtendedKeyUsage is none */
	uint8_t subject_hash[CERT_ID_BYTES], issuer_hash[CERT_ID_BYTES];
	uint8_t subject_key_id[CERT_ID_BYTES], issuer_key_id[CERT_ID_BYTES];
	bool has_subject_key_id, has_issuer_key_id;
};

/* Reads a certificate. 0; -EINVAL: not a certificate, or names that we do not take (a NUL inside, too long, too many): fault says which, as
 * the end of a sentence that begins with what the certificate is. *ret is filled where names alone are at fault, as far as they went. */
int cert_read(const uint8_t *der, size_t len_bytes, struct cert *ret, char fault[CERT_FAULT_BYTES]);

/* Whether child names authority as its issuer: by name, and by key where both say which. The signature is not looked at. */
bool cert_is_issued_by(const struct cert *child, const struct cert *authority);

/* "2026-01-02T03:04:05Z". Returns text. */
const char *cert_time_text(int64_t time_s, char text[CERT_TIME_BYTES]);
/* "URI:spiffe://...". Returns text; control bytes and what is beyond ASCII become '?'. */
enum { CERT_NAME_TEXT_BYTES = TLS_NAME_BYTES + 4 };
const char *cert_name_text(const struct tls_name *name, char text[CERT_NAME_TEXT_BYTES]);

#endif
