/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tls/ca.h"

#include "tls/der.h"
#include "tls/folder.h"

#include <wolfssl/wolfcrypt/settings.h>
#include <wolfssl/version.h>
#include <wolfssl/wolfcrypt/asn.h>
#include <wolfssl/wolfcrypt/asn_public.h>
#include <wolfssl/wolfcrypt/ecc.h>
#include <wolfssl/wolfcrypt/random.h>

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
	CA_KEY_BYTES = 32, /* P-256 */
	CA_CLOCK_SKEW_S = 300,
	CA_DAY_S = 24 * 3600,
	CA_SERIAL_BYTES = 16,
	CA_LEAF_DER_MAX = 16 << 10, /* names are up to 255 bytes each, and a caller may ask for many */
};

/* 9999-12-31T23:59:59Z, the last that a certificate can say (RFC 5280, 4.1.2.5). */
#define CA_TIME_MAX INT64_C(253402300799)

static_assert(DER_TIME_BYTES <= (int)CTC_DATE_SIZE, "times are written into the library's struct");

static int key_make(ecc_key *key, WC_RNG *rng)
{
	return wc_ecc_init(key) || wc_ecc_make_key_ex(rng, CA_KEY_BYTES, key, ECC_SECP256R1) ? -EIO : 0;
}

/* PKCS#8 with the public part in it. */
static int key_export(ecc_key *key, uint8_t der[CA_DER_MAX], size_t *ret_len)
{
	word32 len = CA_DER_MAX;

	if (wc_EccKeyToPKCS8(key, der, &len) < 0)
		return -EIO;
	*ret_len = len;
	return 0;
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
	if (wc_RNG_GenerateBlock(rng, c->serial, CA_SERIAL_BYTES) != 0)
		return -EIO;
	c->serial[0] = (c->serial[0] & 0x3f) | 0x40;
	c->serialSz = CA_SERIAL_BYTES;
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

static int authority_make(ecc_key *key, const char *common_name, int64_t not_before_s, int64_t not_after_s, WC_RNG *rng,
                          uint8_t der[CA_DER_MAX], size_t *ret_len)
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

static int leaf_make(struct ca *ca, ecc_key *key, const struct ca_leaf *leaf, WC_RNG *rng, uint8_t *der, size_t cap_bytes, size_t *ret_len)
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

int ca_init(const char *dir, const char *common_name, int days, char error[CA_ERROR_BYTES])
{
	struct pem_text cert_text = { 0 }, key_text = { 0 };
	uint8_t der[CA_DER_MAX], key_der[CA_DER_MAX];
	size_t der_len_bytes, key_len_bytes = 0;
	int64_t now_s = time(NULL);
	int dir_fd = -1, r;
	ecc_key key;
	WC_RNG rng;

	if (!common_name)
		common_name = "Culvert CA";
	if (!days)
		days = CA_DAYS;
	if (strlen(common_name) > CA_COMMON_NAME_MAX || !common_name[0])
		return ca_error(error, -EINVAL, "the authority's name must have 1 to %d bytes", CA_COMMON_NAME_MAX);
	if (days < 0)
		return ca_error(error, -EINVAL, "days is %d, it must be positive", days);
	r = ca_dir_open(dir, true, &dir_fd, error);
	if (r)
		return r;
	if (faccessat(dir_fd, "ca.key", F_OK, 0) == 0 || faccessat(dir_fd, "ca.crt", F_OK, 0) == 0) {
		close(dir_fd);
		return ca_error(error, -EEXIST, "%s: holds an authority already, which is never overwritten", dir);
	}
	if (wc_InitRng(&rng) != 0) {
		close(dir_fd);
		return ca_error(error, -EIO, "no random numbers");
	}
	r = key_make(&key, &rng);
	if (!r)
		r = authority_make(&key, common_name, now_s - CA_CLOCK_SKEW_S, now_s + (int64_t)days * CA_DAY_S, &rng, der, &der_len_bytes);
	if (!r)
		r = key_export(&key, key_der, &key_len_bytes);
	if (!r)
		r = pem_append(&cert_text, "CERTIFICATE", der, der_len_bytes);
	if (!r)
		r = pem_append(&key_text, "PRIVATE KEY", key_der, key_len_bytes);
	if (r) {
		r = ca_error(error, r, "%s: the authority can not be made: %s", dir, strerror(-r));
		goto out;
	}
	r = ca_file_write(dir_fd, dir, "ca.key", 0600, &key_text, true, error);
	if (!r)
		r = ca_file_write(dir_fd, dir, "ca.crt", 0644, &cert_text, true, error);
out:
	explicit_bzero(key_der, sizeof(key_der));
	pem_free(&key_text);
	pem_free(&cert_text);
	wc_ecc_free(&key);
	wc_FreeRng(&rng);
	close(dir_fd);
	return r;
}

struct ca_leaf ca_leaf_default(const char *node, const struct tls_name *name, int days)
{
	int64_t now_s = time(NULL);

	return (struct ca_leaf){
		.node = node,
		.name = *name,
		.not_before_s = now_s - CA_CLOCK_SKEW_S,
		.not_after_s = now_s + (int64_t)(days ? days : CA_LEAF_DAYS) * CA_DAY_S,
		.has_server_usage = true,
		.has_client_usage = true,
	};
}

static int leaf_check(const struct ca_leaf *leaf, char error[CA_ERROR_BYTES])
{
	if (!leaf->node || !leaf->node[0])
		return ca_error(error, -EINVAL, "the node has no name");
	if (!leaf->name.text[0])
		return ca_error(error, -EINVAL, "the certificate of %s would have no name", leaf->node);
	if (leaf->not_before_s < 0 || leaf->not_after_s > CA_TIME_MAX || leaf->not_before_s >= leaf->not_after_s)
		return ca_error(error, -EINVAL, "the certificate of %s would end before it begins, or lie beyond the years 1970 to 9999",
		                leaf->node);
	return 0;
}

static int leaf_write(struct ca *ca, const char *out_dir, const struct ca_leaf *leaf, WC_RNG *rng, ecc_key *key, char error[CA_ERROR_BYTES])
{
	struct pem_text cert_text = { 0 }, key_text = { 0 }, ca_text = { 0 };
	uint8_t key_der[CA_DER_MAX], *der = malloc(CA_LEAF_DER_MAX);
	size_t der_len_bytes, key_len_bytes = 0;
	int dir_fd = -1, r = -ENOMEM;

	if (der)
		r = leaf_make(ca, key, leaf, rng, der, CA_LEAF_DER_MAX, &der_len_bytes);
	if (!r)
		r = key_export(key, key_der, &key_len_bytes);
	if (!r)
		r = pem_append(&cert_text, "CERTIFICATE", der, der_len_bytes);
	if (!r)
		r = pem_append(&key_text, "PRIVATE KEY", key_der, key_len_bytes);
	if (!r)
		r = pem_append(&ca_text, "CERTIFICATE", ca->der, ca->der_len_bytes);
	if (r) {
		r = ca_error(error, r, "the certificate of %s can not be made: %s", leaf->node, strerror(-r));
		goto out;
	}
	r = ca_dir_open(out_dir, true, &dir_fd, error);
	if (!r)
		r = ca_file_write(dir_fd, out_dir, "ca.crt", 0644, &ca_text, false, error);
	if (!r)
		r = ca_file_write(dir_fd, out_dir, "tls.key", 0600, &key_text, false, error);
	if (!r)
		r = ca_file_write(dir_fd, out_dir, "tls.crt", 0644, &cert_text, false, error);
	if (dir_fd >= 0)
		close(dir_fd);
out:
	explicit_bzero(key_der, sizeof(key_der));
	free(der);
	pem_free(&cert_text);
	pem_free(&key_text);
	pem_free(&ca_text);
	return r;
}

int ca_issue(const char *ca_dir, const char *out_dir, const struct ca_leaf *leaf, char error[CA_ERROR_BYTES])
{
	struct ca ca;
	ecc_key key;
	WC_RNG rng;
	int r;

	r = leaf_check(leaf, error);
	if (r)
		return r;
	r = ca_load(ca_dir, &ca, error);
	if (r)
		return r;
	if (wc_InitRng(&rng) != 0) {
		ca_done(&ca);
		return ca_error(error, -EIO, "no random numbers");
	}
	if (key_make(&key, &rng))
		r = ca_error(error, -EIO, "no key could be made for %s", leaf->node);
	else
		r = leaf_write(&ca, out_dir, leaf, &rng, &key, error);
	wc_ecc_free(&key);
	wc_FreeRng(&rng);
	ca_done(&ca);
	return r;
}

int ca_make_ephemeral(struct ca_ephemeral *ret)
{
	struct tls_name name = { .type = TLS_NAME_DNS, .text = "self" };
	struct ca_leaf leaf = ca_leaf_default("self", &name, 1);
	uint8_t der[CA_DER_MAX];
	size_t der_len_bytes = 0;
	struct ca ca = { 0 };
	ecc_key key;
	WC_RNG rng;
	int r;

	if (wc_InitRng(&rng) != 0)
		return -EIO;
	r = wc_ecc_init(&key) ? -EIO : key_make(&ca.key, &rng);
	ca.has_key = true;
	if (!r)
		r = authority_make(&ca.key, "self", leaf.not_before_s, leaf.not_after_s, &rng, ret->authority_der,
		                   &ret->authority_len_bytes);
	if (!r)
		r = key_make(&key, &rng);
	ca.der = ret->authority_der;
	ca.der_len_bytes = ret->authority_len_bytes;
	if (!r)
		r = leaf_make(&ca, &key, &leaf, &rng, der, sizeof(der), &der_len_bytes);
	if (!r)
		r = key_export(&key, ret->key_der, &ret->key_len_bytes);
	if (!r)
		r = pem_append(&ret->chain, "CERTIFICATE", der, der_len_bytes);
	wc_ecc_free(&key);
	wc_ecc_free(&ca.key);
	wc_FreeRng(&rng);
	return r ? -EIO : 0;
}
