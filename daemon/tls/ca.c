/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tls/ca.h"

#include "tls/folder.h"
#include "tls/make.h"

#include <wolfssl/wolfcrypt/settings.h>
#include <wolfssl/wolfcrypt/ecc.h>
#include <wolfssl/wolfcrypt/random.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
	CA_DAY_S = 24 * 3600,
	CA_LEAF_DER_MAX = 16 << 10, /* names are up to 255 bytes each, and a caller may ask for many */
};

/* 9999-12-31T23:59:59Z, the last that a certificate can say (RFC 5280, 4.1.2.5). */
#define CA_TIME_MAX INT64_C(253402300799)

int ca_init(const char *dir, const char *common_name, int days, char error[CA_ERROR_BYTES])
{
	struct pem_text cert_text = { 0 }, key_text = { 0 };
	uint8_t der[CA_DER_MAX];
	size_t der_len_bytes;
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
	r = make_key(&key, &rng);
	if (!r)
		r = make_authority(&key, common_name, now_s - CA_CLOCK_SKEW_S, now_s + (int64_t)days * CA_DAY_S, &rng, der, &der_len_bytes);
	if (!r)
		r = pem_append(&cert_text, "CERTIFICATE", der, der_len_bytes);
	if (!r)
		r = make_key_pem(&key, &key_text);
	if (r) {
		r = ca_error(error, r, "%s: the authority can not be made: %s", dir, strerror(-r));
		goto out;
	}
	r = ca_file_write(dir_fd, dir, "ca.key", 0600, &key_text, true, error);
	if (!r)
		r = ca_file_write(dir_fd, dir, "ca.crt", 0644, &cert_text, true, error);
out:
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
	uint8_t *der = malloc(CA_LEAF_DER_MAX);
	size_t der_len_bytes;
	int dir_fd = -1, r = -ENOMEM;

	if (der)
		r = make_leaf(ca, key, leaf, rng, der, CA_LEAF_DER_MAX, &der_len_bytes);
	if (!r)
		r = pem_append(&cert_text, "CERTIFICATE", der, der_len_bytes);
	if (!r)
		r = make_key_pem(key, &key_text);
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
	if (make_key(&key, &rng))
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
	r = wc_ecc_init(&key) ? -EIO : make_key(&ca.key, &rng);
	ca.has_key = true;
	if (!r)
		r = make_authority(&ca.key, "self", leaf.not_before_s, leaf.not_after_s, &rng, ret->authority_der,
		                   &ret->authority_len_bytes);
	if (!r)
		r = make_key(&key, &rng);
	ca.der = ret->authority_der;
	ca.der_len_bytes = ret->authority_len_bytes;
	if (!r)
		r = make_leaf(&ca, &key, &leaf, &rng, der, sizeof(der), &der_len_bytes);
	if (!r)
		r = make_key_der(&key, ret->key_der, &ret->key_len_bytes);
	if (!r)
		r = pem_append(&ret->chain, "CERTIFICATE", der, der_len_bytes);
	wc_ecc_free(&key);
	wc_ecc_free(&ca.key);
	wc_FreeRng(&rng);
	return r ? -EIO : 0;
}
