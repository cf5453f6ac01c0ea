/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ctx.h - a context's inside: the library's two contexts of one generation of certificates, and how they are made.
 * For this folder only. Immutable once made; any thread. */
#ifndef CULVERT_TLS_CTX_H
#define CULVERT_TLS_CTX_H

#include "tls/cert.h"
#include "tls/crl.h"
#include "tls/pem.h"

#include <wolfssl/wolfcrypt/settings.h>
#include <wolfssl/ssl.h>
#include <wolfssl/version.h>

#include <stdatomic.h>

/* The application protocol (RFC 7301): a peer that does not speak it is no Culvert. */
#define TLS_ALPN "culvert/1"

/* The hybrid group under its final number came with wolfSSL 5.8; the build's last resort, 5.7.2, has only drafts of it. */
#define TLS_HAS_HYBRID (LIBWOLFSSL_VERSION_HEX >= 0x05008000)

/* A list that the library has verified. */
struct ctx_list {
	uint8_t *der;
	struct crl crl; /* points into der */
	uint8_t issuer_hash[CERT_ID_BYTES];
};

struct tls_ctx {
	atomic_uint refs;
	WOLFSSL_CTX *client, *server;
	struct cert *authorities; /* to tell when the root of a chain ends */
	size_t authorities_count;
	struct ctx_list *lists; /* to judge peers again that an earlier context took */
	size_t lists_count;     /* 0: revocation is not checked */
};

struct tls_blob {
	const uint8_t *der;
	size_t len_bytes;
};

/* What a context is made of. All borrowed for the time of the call. */
struct tls_material {
	const struct pem_text *chain; /* leaf first */
	struct tls_blob key;          /* PKCS#8, or the key's own form */
	const struct tls_blob *authorities;
	size_t authorities_count;
	const struct tls_blob *crls;
	size_t crls_count; /* 0: revocation is not checked; else each authority needs a list */
};

enum tls_part { TLS_PART_CHAIN, TLS_PART_KEY, TLS_PART_KEY_MATCH, TLS_PART_AUTHORITY, TLS_PART_CRL, TLS_PART_LIBRARY };

struct tls_fault {
	enum tls_part part;
	size_t index; /* of the authority or list */
	int code;     /* the library's error */
};

/* 0; -ENOMEM; -EINVAL with *ret_fault set. */
int tls_ctx_create(const struct tls_material *m, struct tls_ctx **ret, struct tls_fault *ret_fault);

/* A whole handshake of the context with itself, in memory: what every peer would find wrong comes out here. 0 and what peers will see of us
 * in *ret_self; or -EINVAL or -errno with a sentence, and the library's code, or 0, in *ret_code. */
int tls_ctx_prove(struct tls_ctx *ctx, struct tls_peer *ret_self, int *ret_code, char error[TLS_ERROR_BYTES]);

#endif
