/* SPDX-License-Identifier: GPL-3.0-or-later */
/* verify.h - what is asked of a peer's certificate beyond the library's own checks, and the sentence about why one was refused.
 * The library verifies signatures, times, constraints and revocation; this adds both extended key usages and the rules for names, and notes
 * who the peer is. It never turns the library's refusal into a yes.
 * For this folder only. Thread: that of the session. */
#ifndef CULVERT_TLS_VERIFY_H
#define CULVERT_TLS_VERIFY_H

#include "tls/cert.h"

#include <stddef.h>
#include <wolfssl/wolfcrypt/settings.h>
#include <wolfssl/ssl.h>

/* A session's answer about its peer; the callback context of the library's object. */
struct verdict {
	const struct cert *authorities; /* of the session's context */
	size_t authorities_count;
	bool is_good;          /* the peer showed a certificate and it was taken */
	struct tls_peer *peer; /* where is_good, cut behind its last name, which saves up to 2 KB a session; owned */
	uint8_t *chain;        /* where is_good: the peer's certificates, each behind its length (uint32_t); owned */
	size_t chain_len_bytes;
	int code;                    /* the library's error where it was refused; VERIFY_CERT_ERROR where we refused it */
	char fault[TLS_ERROR_BYTES]; /* a sentence where it was refused, else empty */
};

/* What a session keeps of a peer: no names beyond those that there are. */
static inline size_t tls_peer_bytes(const struct tls_peer *peer)
{
	return offsetof(struct tls_peer, names) + peer->names_count * sizeof(peer->names[0]);
}

/* Frees what it owns. */
void verdict_done(struct verdict *v);

/* For wolfSSL_CTX_set_verify: any answer but 0 would override an error, so 0 is the answer to every error. */
int verify_peer(int preverify_ok, WOLFSSL_X509_STORE_CTX *store);

/* Writes the sentence for the library's error code about cert, which whose names ("the other node's certificate"). */
void verify_describe(int code, const char *whose, const struct cert *cert, char fault[TLS_ERROR_BYTES]);

#endif
