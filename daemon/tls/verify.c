/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tls/verify.h"

#include <wolfssl/error-ssl.h>
#include <wolfssl/wolfcrypt/error-crypt.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void verify_describe(int code, const char *whose, const struct cert *cert, char fault[TLS_ERROR_BYTES])
{
	char limit[CERT_TIME_BYTES], now[CERT_TIME_BYTES], name[CERT_NAME_TEXT_BYTES];
	const char *who = cert->subject;

	/* The subject alternative name is what people configure; an authority has none. */
	if (cert->peer.names_count && !cert->is_authority)
		who = cert_name_text(&cert->peer.names[0], name);
	cert_time_text(time(NULL), now);
	switch (code) {
	case ASN_AFTER_DATE_E:
		snprintf(fault, TLS_ERROR_BYTES, "%s expired on %s, by this node's clock it is %s: %.120s", whose,
		         cert_time_text(cert->peer.not_after_s, limit), now, who);
		break;
	case ASN_BEFORE_DATE_E:
		snprintf(fault, TLS_ERROR_BYTES, "%s is not valid before %s, by this node's clock it is %s: %.120s", whose,
		         cert_time_text(cert->not_before_s, limit), now, who);
		break;
	case ASN_NO_SIGNER_E:
	case ASN_SELF_SIGNED_E:
		snprintf(fault, TLS_ERROR_BYTES, "%s was issued by an authority that ca.crt does not hold (%.90s): %.110s", whose,
		         cert->issuer, who);
		break;
	case ASN_SIG_CONFIRM_E:
	case ASN_SIG_HASH_E:
	case ASN_SIG_KEY_E:
	case ASN_SIG_OID_E:
		snprintf(fault, TLS_ERROR_BYTES, "%s bears a signature that its authority did not make (%.90s): %.110s", whose,
		         cert->issuer, who);
		break;
	case CRL_CERT_REVOKED:
		snprintf(fault, TLS_ERROR_BYTES, "%s is revoked by crl.pem, its serial number is %s: %.120s", whose, cert->peer.serial,
		         who);
		break;
	case CRL_MISSING:
		snprintf(fault, TLS_ERROR_BYTES, "%s can not be checked, crl.pem holds no list of its issuer (%.90s): %.110s", whose,
		         cert->issuer, who);
		break;
	case CRL_CERT_DATE_ERR:
	case ASN_CRL_CONFIRM_E:
		snprintf(fault, TLS_ERROR_BYTES, "%s can not be checked, the list of its issuer in crl.pem is out of date (%.90s): %.100s",
		         whose, cert->issuer, who);
		break;
	case EXTKEYUSE_AUTH_E:
		snprintf(fault, TLS_ERROR_BYTES, "%s lacks an extended key usage, serverAuth and clientAuth are both needed: %.120s", whose,
		         who);
		break;
	case KEYUSE_SIGNATURE_E:
		snprintf(fault, TLS_ERROR_BYTES, "%s may not be used for signatures, the key usage digitalSignature is needed: %.120s",
		         whose, who);
		break;
	case NOT_CA_ERROR:
	case ASN_PATHLEN_INV_E:
	case ASN_PATHLEN_SIZE_E:
	case ASN_NAME_INVALID_E:
		snprintf(fault, TLS_ERROR_BYTES, "%s stands under an authority that may not issue it (%s): %.110s", whose,
		         wolfSSL_ERR_reason_error_string((unsigned long)code), who);
		break;
	default:
		snprintf(fault, TLS_ERROR_BYTES, "%s was refused (%s): %.120s", whose, wolfSSL_ERR_reason_error_string((unsigned long)code),
		         who);
		break;
	}
}

/* The end of the chain's certificates that are known. The authority does not come over the wire; where several fit (one was renewed under
 * the same name and key) the one that lasts longest counts. */
static int64_t chain_end(const struct verdict *v, const WOLFSSL_X509_STORE_CTX *store, const struct cert *leaf)
{
	int64_t end = leaf->peer.not_after_s, authority_end = INT64_MIN;
	struct cert cert;
	char fault[CERT_FAULT_BYTES];

	for (int i = 0; i < store->totalCerts; i++) {
		/* Names of the certificates above the leaf play no role. */
		memset(&cert, 0, sizeof(cert));
		if (cert_read(store->certs[i].buffer, store->certs[i].length, &cert, fault) && !cert.peer.not_after_s)
			continue;
		if (cert.peer.not_after_s < end)
			end = cert.peer.not_after_s;
		for (size_t k = 0; k < v->authorities_count; k++) {
			if (cert_is_issued_by(&cert, &v->authorities[k]) && v->authorities[k].peer.not_after_s > authority_end)
				authority_end = v->authorities[k].peer.not_after_s;
		}
	}
	return authority_end != INT64_MIN && authority_end < end ? authority_end : end;
}

static bool peer_keep(struct verdict *v, const struct tls_peer *peer)
{
	size_t len_bytes = tls_peer_bytes(peer);

	free(v->peer);
	v->peer = malloc(len_bytes);
	if (!v->peer)
		return false;
	memcpy(v->peer, peer, len_bytes);
	return true;
}

/* Kept to judge it again by later contexts. */
static bool chain_keep(struct verdict *v, const WOLFSSL_X509_STORE_CTX *store)
{
	size_t len_bytes = 0;
	uint8_t *at;

	for (int i = 0; i < store->totalCerts; i++)
		len_bytes += sizeof(uint32_t) + store->certs[i].length;
	free(v->chain);
	v->chain_len_bytes = 0;
	at = v->chain = malloc(len_bytes);
	if (!at)
		return false;
	v->chain_len_bytes = len_bytes;
	for (int i = 0; i < store->totalCerts; i++) {
		uint32_t n = store->certs[i].length;

		memcpy(at, &n, sizeof(n));
		memcpy(at + sizeof(n), store->certs[i].buffer, n);
		at += sizeof(n) + n;
	}
	return true;
}

void verdict_done(struct verdict *v)
{
	free(v->peer);
	v->peer = NULL;
	free(v->chain);
	v->chain = NULL;
	v->chain_len_bytes = 0;
}

int verify_peer(int preverify_ok, WOLFSSL_X509_STORE_CTX *store)
{
	struct verdict *v = store->userCtx;
	char fault[CERT_FAULT_BYTES] = "", end[CERT_TIME_BYTES];
	struct cert cert = { 0 };
	int depth = store->error_depth;

	if (!v)
		return 0;
	if (depth < 0 || depth >= store->totalCerts) {
		snprintf(v->fault, sizeof(v->fault), "the other node's certificate could not be found in its chain");
		return 0;
	}
	if (!preverify_ok) {
		v->is_good = false;
		v->code = store->error;
		(void)cert_read(store->certs[depth].buffer, store->certs[depth].length, &cert, fault);
		/* The library asks again for the certificates below one that failed; the first answer tells the cause. */
		if (!v->fault[0])
			verify_describe(v->code, depth ? "an authority in the other node's chain" : "the other node's certificate", &cert,
			                v->fault);
		return 0;
	}
	if (v->fault[0])
		return 0;
	if (depth > 0)
		return 1;
	v->code = VERIFY_CERT_ERROR;
	if (cert_read(store->certs[0].buffer, store->certs[0].length, &cert, fault)) {
		snprintf(v->fault, sizeof(v->fault), "the other node's certificate %s", fault);
		return 0;
	}
	if (!cert.has_server_usage || !cert.has_client_usage) {
		verify_describe(EXTKEYUSE_AUTH_E, "the other node's certificate", &cert, v->fault);
		return 0;
	}
	cert.peer.not_after_s = chain_end(v, store, &cert);
	/* The library looks at an authority's time only when the context is made, and contexts live for weeks. */
	if (cert.peer.not_after_s < time(NULL)) {
		snprintf(v->fault, sizeof(v->fault), "an authority of the other node's certificate expired on %s (%s)",
		         cert_time_text(cert.peer.not_after_s, end), cert.issuer);
		return 0;
	}
	if (!peer_keep(v, &cert.peer) || !chain_keep(v, store)) {
		snprintf(v->fault, sizeof(v->fault), "out of memory");
		return 0;
	}
	v->code = 0;
	v->is_good = true;
	return 1;
}
