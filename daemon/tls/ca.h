/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ca.h - a small certificate authority in a folder: makes the authority, node certificates and revocation lists.
 * For trials, tests and clusters without an issuer of their own; keys are EC P-256, signatures ECDSA with SHA-256. Files are written under
 * another name, synced and then renamed, so that a reader never sees half of one; keys have mode 0600.
 * tls_init comes first. Thread: any, one at a time on one folder. */
#ifndef CULVERT_TLS_CA_H
#define CULVERT_TLS_CA_H

#include "tls/pem.h"
#include "tls/tls.h"

enum {
	CA_ERROR_BYTES = 512,
	CA_DAYS = 3650,          /* of an authority, where nothing else is asked for */
	CA_LEAF_DAYS = 90,       /* of a node's certificate, likewise */
	CA_CRL_DAYS = 30,        /* until a revocation list's next update, likewise */
	CA_CLOCK_SKEW_S = 300,   /* what is made is valid since so long: clocks differ */
	CA_COMMON_NAME_MAX = 63, /* bytes (RFC 5280, upper bound 64 with the library's NUL) */
};

/* Makes ca.crt and ca.key in dir, which is made (mode 0700) where it is missing: self-signed, CA:TRUE, keyCertSign and cRLSign.
 * common_name: NULL for "Culvert CA".
 * days: 0 for CA_DAYS. 0; -EEXIST where there is a ca.crt or ca.key already, which is never overwritten; -EINVAL; else the errno of
 * writing. Errors have a sentence in error. */
int ca_init(const char *dir, const char *common_name, int days, char error[CA_ERROR_BYTES]);

struct ca_leaf {
	const char *node;                  /* common name, for people only: at most CA_COMMON_NAME_MAX bytes of it are taken */
	struct tls_name name;              /* subject alternative name */
	const struct tls_name *more_names; /* further ones, or NULL */
	size_t more_names_count;
	int64_t not_before_s, not_after_s; /* Unix time; may lie in the past or the future, for tests; at most 9999-12-31 */
	bool has_server_usage, has_client_usage;
};

/* A leaf that is right: both usages, valid from five minutes ago (clocks differ) for days, 0 for CA_LEAF_DAYS. */
struct ca_leaf ca_leaf_default(const char *node, const struct tls_name *name, int days);

/* Makes a new key and a certificate by the authority in ca_dir: tls.key, tls.crt and a copy of ca.crt in out_dir, which is made (mode 0700)
 * where it is missing; older ones there are replaced. 0, or as ca_init (-ENOENT: no authority in ca_dir). */
int ca_issue(const char *ca_dir, const char *out_dir, const struct ca_leaf *leaf, char error[CA_ERROR_BYTES]);

/* Writes out_path, a revocation list of the authority in ca_dir that names these serial numbers (hex, as struct tls_peer has them) and no
 * others.
 * number: the list's own, must grow from list to list. days until the next update, 0 for CA_CRL_DAYS, may be negative for tests. 0, or as
 * ca_init. */
int ca_revoke(const char *ca_dir, const char *out_path, const char *const *serials, size_t serials_count, uint64_t number, int days,
              char error[CA_ERROR_BYTES]);

/* For tls_init alone: an authority and a leaf by it, in memory, valid for an hour. The caller frees chain and wipes the key. 0 or -EIO. */
enum { CA_DER_MAX = 2048 };
struct ca_ephemeral {
	uint8_t authority_der[CA_DER_MAX], key_der[CA_DER_MAX];
	size_t authority_len_bytes, key_len_bytes;
	struct pem_text chain;
};
int ca_make_ephemeral(struct ca_ephemeral *ret);

#endif
