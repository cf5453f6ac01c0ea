/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Revocation lists (RFC 5280, 5). The library makes them only since 5.9, so they are written here and signed there. */
#include "tls/ca.h"

#include "tls/der.h"
#include "tls/folder.h"

#include <wolfssl/wolfcrypt/asn.h>
#include <wolfssl/wolfcrypt/asn_public.h>
#include <wolfssl/wolfcrypt/error-crypt.h>
#include <wolfssl/wolfcrypt/random.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
	CRL_BYTES_MAX = 1 << 20, /* about 20,000 revoked certificates */
	CRL_CLOCK_SKEW_S = 300,
	CRL_DAY_S = 24 * 3600,
};

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static bool hex_decode(const char *text, uint8_t *ret, size_t cap_bytes, size_t *ret_len)
{
	size_t n = strlen(text);

	if (n == 0 || n % 2 || n / 2 > cap_bytes)
		return false;
	for (size_t i = 0; i < n / 2; i++) {
		int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		ret[i] = (uint8_t)(high << 4 | low);
	}
	*ret_len = n / 2;
	return true;
}

static int crl_put_entries(struct der *d, const char *const *serials, size_t count, int64_t time_s, char error[CA_ERROR_BYTES])
{
	uint8_t number[EXTERNAL_SERIAL_SIZE], date[DER_TIME_BYTES];
	size_t before = der_len(d), number_bytes, date_bytes = der_time(time_s, date);

	for (size_t i = count; i-- > 0;) {
		size_t entry = der_len(d);

		if (!hex_decode(serials[i], number, sizeof(number), &number_bytes))
			return ca_error(error, -EINVAL, "\"%.64s\" is no serial number: pairs of hex digits are needed", serials[i]);
		der_put(d, date, date_bytes);
		der_put_integer(d, number, number_bytes);
		der_wrap(d, ASN_SEQUENCE | ASN_CONSTRUCTED, entry);
	}
	/* An empty list is left out (RFC 5280, 5.1.2.6). */
	if (count)
		der_wrap(d, ASN_SEQUENCE | ASN_CONSTRUCTED, before);
	return 0;
}

static void crl_put_extensions(struct der *d, const struct ca *ca, uint64_t number)
{
	static const uint8_t oid_crl_number[] = { 0x06, 0x03, 0x55, 0x1d, 0x14 }, oid_authority_key[] = { 0x06, 0x03, 0x55, 0x1d, 0x23 };
	uint8_t big[8];
	size_t before = der_len(d), extension;

	for (int i = 0; i < 8; i++)
		big[i] = (uint8_t)(number >> (56 - 8 * i));
	extension = der_len(d);
	der_put_integer(d, big, sizeof(big));
	der_wrap(d, ASN_OCTET_STRING, extension);
	der_put(d, oid_crl_number, sizeof(oid_crl_number));
	der_wrap(d, ASN_SEQUENCE | ASN_CONSTRUCTED, extension);

	extension = der_len(d);
	der_put_value(d, 0x80, ca->cert.subject_key_id, CERT_ID_BYTES);
	der_wrap(d, ASN_SEQUENCE | ASN_CONSTRUCTED, extension);
	der_wrap(d, ASN_OCTET_STRING, extension);
	der_put(d, oid_authority_key, sizeof(oid_authority_key));
	der_wrap(d, ASN_SEQUENCE | ASN_CONSTRUCTED, extension);

	der_wrap(d, ASN_SEQUENCE | ASN_CONSTRUCTED, before);
	der_wrap(d, 0xa0, before);
}

static int crl_put_issuer(struct der *d, const struct ca *ca)
{
	DecodedCert dc;
	int r;

	wc_InitDecodedCert(&dc, ca->der, (word32)ca->der_len_bytes, NULL);
	r = wc_ParseCert(&dc, CERT_TYPE, NO_VERIFY, NULL);
	if (r == 0)
		der_put_value(d, ASN_SEQUENCE | ASN_CONSTRUCTED, dc.subjectRaw, (size_t)dc.subjectRawLen);
	wc_FreeDecodedCert(&dc);
	return r ? -EINVAL : 0;
}

/* The list without its signature, at the end of d. */
static int crl_make(struct der *d, const struct ca *ca, const char *const *serials, size_t count, uint64_t number, int days,
                    char error[CA_ERROR_BYTES])
{
	static const uint8_t algorithm[] = {
		0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02
	}; /* ecdsa-with-SHA256 */
	static const uint8_t version = 1;
	int64_t now_s = time(NULL), next_s = now_s + (int64_t)days * CRL_DAY_S;
	/* A list that is out of date began before its end. */
	int64_t this_s = (days < 0 ? next_s : now_s) - CRL_CLOCK_SKEW_S;
	uint8_t date[DER_TIME_BYTES];
	int r;

	crl_put_extensions(d, ca, number);
	r = crl_put_entries(d, serials, count, this_s, error);
	if (r)
		return r;
	der_put(d, date, der_time(next_s, date));
	der_put(d, date, der_time(this_s, date));
	if (crl_put_issuer(d, ca))
		return ca_error(error, -EINVAL, "the authority's name can not be read");
	der_put(d, algorithm, sizeof(algorithm));
	der_put_integer(d, &version, 1);
	der_wrap(d, ASN_SEQUENCE | ASN_CONSTRUCTED, 0);
	return d->is_full ? ca_error(error, -EINVAL, "%zu serial numbers are too many for a revocation list", count) : 0;
}

static int crl_write(const char *path, const uint8_t *der, size_t len_bytes, char error[CA_ERROR_BYTES])
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	struct pem_text text = { 0 };
	char *dir = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
	int dir_fd, r;

	if (!dir || pem_append(&text, "X509 CRL", der, len_bytes)) {
		r = ca_error(error, -ENOMEM, "%s: out of memory", path);
		goto out;
	}
	r = ca_dir_open(dir, false, &dir_fd, error);
	if (r)
		goto out;
	r = ca_file_write(dir_fd, dir, name, 0644, &text, false, error);
	close(dir_fd);
out:
	pem_free(&text);
	free(dir);
	return r;
}

int ca_revoke(const char *ca_dir, const char *out_path, const char *const *serials, size_t serials_count, uint64_t number, int days,
              char error[CA_ERROR_BYTES])
{
	struct der d = { .bytes = malloc(CRL_BYTES_MAX), .cap_bytes = CRL_BYTES_MAX, .at = CRL_BYTES_MAX };
	struct ca ca = { 0 };
	WC_RNG rng;
	int n, r;

	if (!d.bytes)
		return ca_error(error, -ENOMEM, "out of memory");
	r = ca_load(ca_dir, &ca, error);
	if (r)
		goto out;
	r = crl_make(&d, &ca, serials, serials_count, number, days ? days : CA_CRL_DAYS, error);
	if (r)
		goto out_ca;
	if (wc_InitRng(&rng) != 0) {
		r = ca_error(error, -EIO, "no random numbers");
		goto out_ca;
	}
	n = (int)der_len(&d);
	memmove(d.bytes, d.bytes + d.at, (size_t)n);
	n = wc_SignCert(n, CTC_SHA256wECDSA, d.bytes, CRL_BYTES_MAX, NULL, &ca.key, &rng);
	wc_FreeRng(&rng);
	r = n > 0 ? crl_write(out_path, d.bytes, (size_t)n, error)
	          : ca_error(error, -EIO, "the revocation list can not be signed: %s", wc_GetErrorString(n));
out_ca:
	ca_done(&ca);
out:
	free(d.bytes);
	return r;
}
