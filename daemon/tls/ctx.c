/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tls/ctx.h"

#include "tls/verify.h"

#include <wolfssl/error-ssl.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* AES-128-GCM first: the fastest here, and enough. The server's order decides. */
#define TLS_SUITES "TLS13-AES128-GCM-SHA256:TLS13-AES256-GCM-SHA384:TLS13-CHACHA20-POLY1305-SHA256"

/* What NIST and the authorities' own rules ask for since 2014. */
enum { TLS_RSA_BITS_MIN = 2048, TLS_ECC_BITS_MIN = 256 };

/* The library's own errors about memory are no fault of the files. */
static int ctx_fault(struct tls_fault *fault, enum tls_part part, size_t index, int code)
{
	if (code == MEMORY_E)
		return -ENOMEM;
	*fault = (struct tls_fault){ .part = part, .index = index, .code = code };
	return -EINVAL;
}

static int ctx_set_rules(WOLFSSL_CTX *c, struct tls_fault *fault)
{
	int groups[] = {
#if TLS_HAS_HYBRID
		WOLFSSL_X25519MLKEM768,
#endif
		WOLFSSL_ECC_X25519,
		WOLFSSL_ECC_SECP256R1,
	};
	int r;

	/* Both flags on both sides: without the second a server takes a client that shows no certificate at all. */
	wolfSSL_CTX_set_verify(c, WOLFSSL_VERIFY_PEER | WOLFSSL_VERIFY_FAIL_IF_NO_PEER_CERT, verify_peer);
	r = wolfSSL_CTX_set_cipher_list(c, TLS_SUITES);
	if (r == WOLFSSL_SUCCESS)
		r = wolfSSL_CTX_set_groups(c, groups, (int)(sizeof(groups) / sizeof(groups[0])));
	if (r == WOLFSSL_SUCCESS)
		r = wolfSSL_CTX_SetMinRsaKey_Sz(c, TLS_RSA_BITS_MIN);
	if (r == WOLFSSL_SUCCESS)
		r = wolfSSL_CTX_SetMinEccKey_Sz(c, TLS_ECC_BITS_MIN);
	/* A flight goes out by one send. */
	if (r == WOLFSSL_SUCCESS)
		r = wolfSSL_CTX_set_group_messages(c);
	return r == WOLFSSL_SUCCESS ? 0 : ctx_fault(fault, TLS_PART_LIBRARY, 0, r);
}

static int ctx_load(WOLFSSL_CTX *c, const struct tls_material *m, struct tls_fault *fault)
{
	int r;

	r = wolfSSL_CTX_use_certificate_chain_buffer(c, (const unsigned char *)m->chain->text, (long)m->chain->len_bytes);
	if (r != WOLFSSL_SUCCESS)
		return ctx_fault(fault, TLS_PART_CHAIN, 0, r);
	r = wolfSSL_CTX_use_PrivateKey_buffer(c, m->key.der, (long)m->key.len_bytes, WOLFSSL_FILETYPE_ASN1);
	if (r != WOLFSSL_SUCCESS)
		return ctx_fault(fault, TLS_PART_KEY, 0, r);
	r = wolfSSL_CTX_check_private_key(c);
	if (r != WOLFSSL_SUCCESS)
		return ctx_fault(fault, TLS_PART_KEY_MATCH, 0, r);
	for (size_t i = 0; i < m->authorities_count; i++) {
		r = wolfSSL_CTX_load_verify_buffer(c, m->authorities[i].der, (long)m->authorities[i].len_bytes, WOLFSSL_FILETYPE_ASN1);
		if (r != WOLFSSL_SUCCESS)
			return ctx_fault(fault, TLS_PART_AUTHORITY, i, r);
	}
	if (!m->crls_count)
		return 0;
	r = wolfSSL_CTX_EnableCRL(c, WOLFSSL_CRL_CHECKALL);
	if (r != WOLFSSL_SUCCESS)
		return ctx_fault(fault, TLS_PART_LIBRARY, 0, r);
	for (size_t i = 0; i < m->crls_count; i++) {
		r = wolfSSL_CTX_LoadCRLBuffer(c, m->crls[i].der, (long)m->crls[i].len_bytes, WOLFSSL_FILETYPE_ASN1);
		if (r != WOLFSSL_SUCCESS)
			return ctx_fault(fault, TLS_PART_CRL, i, r);
	}
	return 0;
}

static int ctx_read_authorities(struct tls_ctx *ctx, const struct tls_material *m, struct tls_fault *fault)
{
	char text[CERT_FAULT_BYTES];

	ctx->authorities = calloc(m->authorities_count ? m->authorities_count : 1, sizeof(*ctx->authorities));
	if (!ctx->authorities)
		return -ENOMEM;
	for (size_t i = 0; i < m->authorities_count; i++) {
		struct cert *cert = &ctx->authorities[i];

		/* An authority's own names play no role, so only what can not be read at all counts. */
		if (cert_read(m->authorities[i].der, m->authorities[i].len_bytes, cert, text) && !cert->peer.not_after_s)
			return ctx_fault(fault, TLS_PART_AUTHORITY, i, ASN_PARSE_E);
	}
	ctx->authorities_count = m->authorities_count;
	return 0;
}

static int ctx_read_lists(struct tls_ctx *ctx, const struct tls_material *m, struct tls_fault *fault)
{
	ctx->lists = calloc(m->crls_count ? m->crls_count : 1, sizeof(*ctx->lists));
	if (!ctx->lists)
		return -ENOMEM;
	for (size_t i = 0; i < m->crls_count; i++) {
		struct ctx_list *list = &ctx->lists[ctx->lists_count];

		list->der = malloc(m->crls[i].len_bytes);
		if (!list->der)
			return -ENOMEM;
		ctx->lists_count++;
		memcpy(list->der, m->crls[i].der, m->crls[i].len_bytes);
		if (crl_read(list->der, m->crls[i].len_bytes, &list->crl))
			return ctx_fault(fault, TLS_PART_CRL, i, ASN_PARSE_E);
		for (size_t k = 0; k < m->authorities_count; k++) {
			if (crl_is_of(&list->crl, m->authorities[k].der, m->authorities[k].len_bytes))
				memcpy(list->issuer_hash, ctx->authorities[k].subject_hash, CERT_ID_BYTES);
		}
	}
	return 0;
}

int tls_ctx_create(const struct tls_material *m, struct tls_ctx **ret, struct tls_fault *ret_fault)
{
	struct tls_ctx *ctx = calloc(1, sizeof(*ctx));
	int r;

	if (!ctx)
		return -ENOMEM;
	atomic_init(&ctx->refs, 1);
	r = ctx_read_authorities(ctx, m, ret_fault);
	if (r)
		goto fail;
	r = -ENOMEM;
	ctx->client = wolfSSL_CTX_new(wolfTLSv1_3_client_method());
	ctx->server = wolfSSL_CTX_new(wolfTLSv1_3_server_method());
	if (!ctx->client || !ctx->server)
		goto fail;
	r = ctx_set_rules(ctx->client, ret_fault);
	if (!r)
		r = ctx_set_rules(ctx->server, ret_fault);
	if (!r)
		r = ctx_load(ctx->client, m, ret_fault);
	if (!r)
		r = ctx_load(ctx->server, m, ret_fault);
	if (!r)
		r = ctx_read_lists(ctx, m, ret_fault);
	if (r)
		goto fail;
	*ret = ctx;
	return 0;
fail:
	tls_ctx_unref(ctx);
	return r;
}

struct tls_ctx *tls_ctx_ref(struct tls_ctx *ctx)
{
	atomic_fetch_add_explicit(&ctx->refs, 1, memory_order_relaxed);
	return ctx;
}

void tls_ctx_unref(struct tls_ctx *ctx)
{
	if (!ctx || atomic_fetch_sub_explicit(&ctx->refs, 1, memory_order_acq_rel) != 1)
		return;
	/* The library counts its own contexts too; its last session may outlive ours. */
	wolfSSL_CTX_free(ctx->client);
	wolfSSL_CTX_free(ctx->server);
	for (size_t i = 0; i < ctx->lists_count; i++)
		free(ctx->lists[i].der);
	free(ctx->lists);
	free(ctx->authorities);
	free(ctx);
}
