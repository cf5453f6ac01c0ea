/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A session outlives the context that it began with. What changes from context to context is which authorities hold and what is revoked; that is
 * judged again here, from the chain that the peer showed. */
#include "tls/session.h"

#include <wolfssl/error-ssl.h>
#include <wolfssl/wolfcrypt/error-crypt.h>

#include <string.h>

enum { CHAIN_MAX = 10 }; /* the library takes nine and a leaf */

static size_t chain_read(const struct verdict *v, struct cert ret[CHAIN_MAX])
{
	const uint8_t *at = v->chain, *end = at + v->chain_len_bytes;
	char fault[CERT_FAULT_BYTES];
	size_t count = 0;
	uint32_t n;

	while (at < end && count < CHAIN_MAX) {
		memcpy(&n, at, sizeof(n));
		at += sizeof(n);
		memset(&ret[count], 0, sizeof(ret[count]));
		/* Names above the leaf play no role, as in the handshake. */
		(void)cert_read(at, n, &ret[count++], fault);
		at += n;
	}
	return count;
}

static const struct cert *issuer_among(const struct cert *child, const struct cert *certs, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (&certs[i] != child && cert_is_issued_by(child, &certs[i]))
			return &certs[i];
	}
	return NULL;
}

/* 0, or the library's code for what it would find. */
static int judge_by_lists(const struct tls_ctx *ctx, const struct cert *cert)
{
	bool has_list = false;

	for (size_t i = 0; i < ctx->lists_count; i++) {
		if (memcmp(ctx->lists[i].issuer_hash, cert->issuer_hash, CERT_ID_BYTES) != 0)
			continue;
		has_list = true;
		if (crl_revokes(&ctx->lists[i].crl, cert->peer.serial))
			return CRL_CERT_REVOKED;
	}
	return has_list || !ctx->lists_count ? 0 : CRL_MISSING;
}

bool tls_session_is_taken_by(const struct tls_session *s, const struct tls_ctx *ctx, char error[TLS_ERROR_BYTES])
{
	struct cert chain[CHAIN_MAX];
	size_t count = chain_read(&s->verdict, chain);
	const struct cert *at = count ? &chain[0] : NULL;

	/* As many steps as certificates: a chain may go in a circle. */
	for (size_t i = 0; i < count && at; i++) {
		const char *whose = at == chain ? "the other node's certificate" : "an authority in the other node's chain";
		int code = judge_by_lists(ctx, at);

		if (code) {
			verify_describe(code, whose, at, error);
			return false;
		}
		if (issuer_among(at, ctx->authorities, ctx->authorities_count))
			return true;
		at = issuer_among(at, chain, count);
	}
	if (count)
		verify_describe(ASN_NO_SIGNER_E, "the other node's certificate", &chain[0], error);
	else
		memcpy(error, "the other node's certificate is not known", sizeof("the other node's certificate is not known"));
	return false;
}
