/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tls/signer.h"

#include "tls/folder.h"
#include "tls/make.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct signer {
	struct ca ca;
};

int signer_make(const char *common_name, int64_t not_before_s, int64_t not_after_s, struct pem_text *ret_cert, struct pem_text *ret_key)
{
	struct pem_text cert_text = { 0 }, key_text = { 0 };
	uint8_t der[CA_DER_MAX];
	size_t len_bytes = 0;
	ecc_key key;
	WC_RNG rng;
	int r;

	if (!common_name[0] || strlen(common_name) > CA_COMMON_NAME_MAX || not_before_s >= not_after_s)
		return -EINVAL;
	if (wc_InitRng(&rng) != 0)
		return -EIO;
	r = make_key(&key, &rng);
	if (!r)
		r = make_authority(&key, common_name, not_before_s, not_after_s, &rng, der, &len_bytes);
	if (!r)
		r = pem_append(&cert_text, "CERTIFICATE", der, len_bytes);
	if (!r)
		r = make_key_pem(&key, &key_text);
	wc_ecc_free(&key);
	wc_FreeRng(&rng);
	if (r) {
		pem_free(&cert_text);
		pem_free(&key_text);
		return r;
	}
	*ret_cert = cert_text;
	*ret_key = key_text;
	return 0;
}

/* The one block of a text; *ret is zeroed where there is none. */
static int open_block(const char *what, const char *text, struct pem *ret, char error[CA_ERROR_BYTES])
{
	enum pem_fault fault;
	unsigned line;

	fault = pem_parse(text, strlen(text), ret, &line);
	if (fault)
		return ca_error(error, -EINVAL, "%s %s", what, pem_fault_text(fault));
	if (ret->count != 1)
		return ca_error(error, -EINVAL, "%s holds %zu PEM blocks, one is right", what, ret->count);
	return 0;
}

int signer_open(const char *cert_pem, const char *key_pem, struct signer **ret, char error[CA_ERROR_BYTES])
{
	struct signer *s = calloc(1, sizeof(*s));
	struct pem cert = { 0 }, key = { 0 };
	char fault[CERT_FAULT_BYTES];
	int r;

	if (!s)
		return ca_error(error, -ENOMEM, "out of memory");
	r = open_block("the authority's certificate", cert_pem, &cert, error);
	if (!r)
		r = open_block("the authority's key", key_pem, &key, error);
	if (r)
		goto out;
	s->ca.der = cert.blocks[0].der;
	s->ca.der_len_bytes = cert.blocks[0].len_bytes;
	cert.blocks[0].der = NULL;
	if (cert_read(s->ca.der, s->ca.der_len_bytes, &s->ca.cert, fault))
		r = ca_error(error, -EINVAL, "the authority's certificate %s", fault);
	else if (!s->ca.cert.is_authority)
		r = ca_error(error, -EINVAL, "the certificate of %s is no authority's: CA:TRUE is missing", s->ca.cert.subject);
	else if (ca_take_key(&s->ca, &key.blocks[0]))
		r = ca_error(error, -EINVAL, "the key of %s can not be read: an EC private key is needed", s->ca.cert.subject);
	else if (!ca_key_fits(&s->ca))
		r = ca_error(error, -EINVAL, "the key does not belong to the certificate of %s", s->ca.cert.subject);
out:
	pem_done(&cert);
	pem_done(&key);
	if (r) {
		signer_close(s);
		return r;
	}
	*ret = s;
	return 0;
}

void signer_close(struct signer *s)
{
	if (!s)
		return;
	ca_done(&s->ca);
	free(s);
}

int signer_sign(struct signer *s, const struct csr *request, const char *common_name, int64_t not_before_s, int64_t not_after_s,
                struct pem_text *ret, char error[CA_ERROR_BYTES])
{
	struct ca_leaf leaf = {
		.node = common_name,
		.name = request->name,
		.not_before_s = not_before_s,
		.not_after_s = not_after_s,
		.has_server_usage = true,
		.has_client_usage = true,
	};
	uint8_t der[CA_DER_MAX];
	size_t len_bytes = 0;
	ecc_key key;
	WC_RNG rng;
	int r = -EIO;

	if (not_before_s >= not_after_s || not_after_s > s->ca.cert.peer.not_after_s)
		return ca_error(error, -EINVAL, "the certificate would end before it begins, or after its authority");
	if (wc_ecc_init(&key) != 0)
		return ca_error(error, -EIO, "the library fails");
	if (wc_InitRng(&rng) != 0) {
		wc_ecc_free(&key);
		return ca_error(error, -EIO, "no random numbers");
	}
	if (wc_ecc_import_x963_ex(request->point, CSR_POINT_BYTES, &key, ECC_SECP256R1) == 0)
		r = make_leaf(&s->ca, &key, &leaf, &rng, der, sizeof(der), &len_bytes);
	if (!r)
		r = pem_append(ret, "CERTIFICATE", der, len_bytes);
	if (r)
		r = ca_error(error, r, "the certificate of %.200s can not be made: %s", common_name, strerror(-r));
	wc_FreeRng(&rng);
	wc_ecc_free(&key);
	return r;
}
