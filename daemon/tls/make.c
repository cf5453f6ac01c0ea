/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tls/make.h"

#include "tls/der.h"

#include <wolfssl/version.h>
#include <wolfssl/wolfcrypt/asn.h>
#include <wolfssl/wolfcrypt/asn_public.h>

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

enum {
	MAKE_KEY_BYTES = 32, /* P-256 */
	MAKE_SERIAL_BYTES = 16,
};

static_assert(DER_TIME_BYTES <= (int)CTC_DATE_SIZE, "times are written into the library's struct");

int make_key(ecc_key *key, WC_RNG *rng)
{
	return wc_ecc_init(key) || wc_ecc_make_key_ex(rng, MAKE_KEY_BYTES, key, ECC_SECP256R1) ? -EIO : 0;
}

int make_key_der(ecc_key *key, uint8_t der[CA_DER_MAX], size_t *ret_len)
{
	word32 len = CA_DER_MAX;

	if (wc_EccKeyToPKCS8(key, der, &len) < 0)
		return -EIO;
	*ret_len = len;
	return 0;
}

int make_key_pem(ecc_key *key, struct pem_text *ret)
{
	uint8_t der[CA_DER_MAX];
	size_t len_bytes = 0;
	int r = make_key_der(key, der, &len_bytes);

	if (!r)
		r = pem_append(ret, "PRIVATE KEY", der, len_bytes);
	explicit_bzero(der, sizeof(der));
	return r;
}

static void cert_set_times(Cert *c, int64_t not_before_s, int64_t not_after_s)
{
	c->beforeDateSz = (int)der_time(not_before_s, c->beforeDate);
	c->afterDateSz = (int)der_time(not_after_s, c->afterDate);
}

static void cert_set_common_name(Cert *c, const char *text)
{
	snprintf(c->subject.commonName, sizeof(c->subject.commonName), "%s", text);
	c->subject.commonNameEnc = CTC_UTF8;
}

/* Positive and 16 bytes of chance (RFC 5280, 4.1.2.2). */
static int cert_set_serial(Cert *c, WC_RNG *rng)
{
	if (wc_RNG_GenerateBlock(rng, c->serial, MAKE_SERIAL_BYTES) != 0)
		return -EIO;
	c->serial[0] = (c->serial[0] & 0x3f) | 0x40;
	c->serialSz = MAKE_SERIAL_BYTES;
	return 0;
}

static Cert *cert_new(WC_RNG *rng)
{
	Cert *c = wc_CertNew(NULL);

	if (c && (wc_InitCert(c) != 0 || cert_set_serial(c, rng))) {
		wc_CertFree(c);
		return NULL;
	}
	if (c)
		c->sigType = CTC_SHA256wECDSA;
	return c;
}

/* Signs c, whose subject's key is key, and writes its DER. */
static int cert_sign(Cert *c, ecc_key *key, ecc_key *authority_key, WC_RNG *rng, uint8_t *der, size_t cap_bytes, size_t *ret_len)
{
	int n = wc_MakeCert(c, der, (word32)cap_bytes, NULL, key, rng);

	if (n > 0)
		n = wc_SignCert(c->bodySz, c->sigType, der, (word32)cap_bytes, NULL, authority_key, rng);
	if (n <= 0)
		return -EIO;
	*ret_len = (size_t)n;
	return 0;
}

int make_authority(ecc_key *key, const char *common_name, int64_t not_before_s, int64_t not_after_s, WC_RNG *rng, uint8_t der[CA_DER_MAX],
                   size_t *ret_len)
{
	Cert *c = cert_new(rng);
	int r = -EIO;

	if (!c)
		return -ENOMEM;
	cert_set_common_name(c, common_name);
	cert_set_times(c, not_before_s, not_after_s);
	c->isCA = 1;
#if LIBWOLFSSL_VERSION_HEX >= 0x05009000
	c->basicConstCrit = 1;
#endif
	c->selfSigned = 1;
	if (wc_SetKeyUsage(c, "keyCertSign,cRLSign") == 0 && wc_SetSubjectKeyIdFromPublicKey(c, NULL, key) == 0 &&
	    wc_SetAuthKeyIdFromPublicKey(c, NULL, key) == 0)
		r = cert_sign(c, key, key, rng, der, CA_DER_MAX, ret_len);
	wc_CertFree(c);
	return r;
}

static void names_put(struct der *d, const struct tls_name *names, size_t count)
{
	for (size_t i = count; i-- > 0;)
		/* uniformResourceIdentifier [6], dNSName [2] (RFC 5280, 4.2.1.6) */
		der_put_value(d, names[i].type == TLS_NAME_URI ? 0x86 : 0x82, names[i].text, strnlen(names[i].text, TLS_NAME_BYTES));
}

static int leaf_set_names(Cert *c, const struct ca_leaf *leaf)
{
	struct der d = { .bytes = c->altNames, .cap_bytes = sizeof(c->altNames), .at = sizeof(c->altNames) };

	names_put(&d, leaf->more_names, leaf->more_names_count);
	names_put(&d, &leaf->name, 1);
	der_wrap(&d, ASN_SEQUENCE | ASN_CONSTRUCTED, 0);
	if (d.is_full)
		return -EINVAL;
	c->altNamesSz = (int)der_len(&d);
	memmove(c->altNames, c->altNames + d.at, der_len(&d));
	return 0;
}

int make_leaf(struct ca *ca, ecc_key *key, const struct ca_leaf *leaf, WC_RNG *rng, uint8_t *der, size_t cap_bytes, size_t *ret_len)
{
	Cert *c = cert_new(rng);
	int r = -EIO;

	if (!c)
		return -ENOMEM;
	cert_set_common_name(c, leaf->node);
	cert_set_times(c, leaf->not_before_s, leaf->not_after_s);
	if (leaf_set_names(c, leaf) || wc_SetIssuerRaw(c, ca->der, (int)ca->der_len_bytes) != 0 ||
	    wc_SetKeyUsage(c, "digitalSignature") != 0 || wc_SetSubjectKeyIdFromPublicKey(c, NULL, key) != 0 ||
	    wc_SetAuthKeyIdFromPublicKey(c, NULL, &ca->key) != 0)
		goto out;
	if (leaf->has_server_usage || leaf->has_client_usage) {
		const char *usages = leaf->has_client_usage ? "clientAuth" : "serverAuth";

		if (wc_SetExtKeyUsage(c, leaf->has_server_usage && leaf->has_client_usage ? "serverAuth,clientAuth" : usages) != 0)
			goto out;
	}
	r = cert_sign(c, key, &ca->key, rng, der, cap_bytes, ret_len);
out:
	wc_CertFree(c);
	return r;
}
