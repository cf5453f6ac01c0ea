/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tls/csr.h"

#include "tls/cert.h"
#include "tls/der.h"
#include "tls/make.h"

#include <wolfssl/wolfcrypt/settings.h>
#include <wolfssl/wolfcrypt/ecc.h>
#include <wolfssl/wolfcrypt/random.h>
#include <wolfssl/wolfcrypt/sha256.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { CSR_HASH_BYTES = 32, CSR_SIGNATURE_MAX = 80 };

/* Contents of object identifiers. */
static const uint8_t oid_ec_key[] = { 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01 };                                   /* RFC 5480, 2.1.1 */
static const uint8_t oid_p256[] = { 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07 };                               /* RFC 5480, 2.1.1.1 */
static const uint8_t oid_ecdsa_sha256[] = { 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02 };                       /* RFC 5758, 3.2 */
static const uint8_t oid_extension_request[] = { 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x0e };            /* RFC 2985, 5.4.2 */
static const uint8_t oid_alternative_name[] = { 0x55, 0x1d, 0x11 }, oid_basic_constraints[] = { 0x55, 0x1d, 0x13 }; /* RFC 5280 */

/* attributes [0]; of GeneralName uniformResourceIdentifier [6] and dNSName [2] (RFC 5280, 4.2.1.6) */
enum { TAG_ATTRIBUTES = 0xa0, TAG_URI = 0x86, TAG_DNS = 0x82, TAG_BOOLEAN = 0x01 };

__attribute__((format(printf, 2, 3))) static int csr_fault(char fault[CSR_FAULT_BYTES], const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(fault, CSR_FAULT_BYTES, format, args);
	va_end(args);
	return -EINVAL;
}

static int csr_hash(const uint8_t *bytes, size_t len_bytes, uint8_t ret[CSR_HASH_BYTES])
{
	return wc_Sha256Hash(bytes, (word32)len_bytes, ret) == 0 ? 0 : -EIO;
}

/* --- making --- */

static void put_bit_string(struct der *d, const uint8_t *bytes, size_t len_bytes)
{
	static const uint8_t unused_bits;
	size_t before = der_len(d);

	der_put(d, bytes, len_bytes);
	der_put(d, &unused_bits, 1);
	der_wrap(d, DER_BIT_STRING, before);
}

static void put_attributes(struct der *d, const struct tls_name *name)
{
	size_t before = der_len(d);

	der_put_value(d, name->type == TLS_NAME_URI ? TAG_URI : TAG_DNS, name->text, strnlen(name->text, TLS_NAME_BYTES));
	der_wrap(d, DER_SEQUENCE, before); /* GeneralNames */
	der_wrap(d, DER_OCTET_STRING, before);
	der_put_value(d, DER_OID, oid_alternative_name, sizeof(oid_alternative_name));
	der_wrap(d, DER_SEQUENCE, before); /* Extension */
	der_wrap(d, DER_SEQUENCE, before); /* Extensions */
	der_wrap(d, DER_SET, before);
	der_put_value(d, DER_OID, oid_extension_request, sizeof(oid_extension_request));
	der_wrap(d, DER_SEQUENCE, before); /* Attribute */
	der_wrap(d, TAG_ATTRIBUTES, before);
}

static void put_public_key(struct der *d, const uint8_t point[CSR_POINT_BYTES])
{
	size_t before = der_len(d), algorithm;

	put_bit_string(d, point, CSR_POINT_BYTES);
	algorithm = der_len(d);
	der_put_value(d, DER_OID, oid_p256, sizeof(oid_p256));
	der_put_value(d, DER_OID, oid_ec_key, sizeof(oid_ec_key));
	der_wrap(d, DER_SEQUENCE, algorithm);
	der_wrap(d, DER_SEQUENCE, before);
}

/* CertificationRequestInfo: version 0, an empty subject, the key, the name. */
static void put_info(struct der *d, const struct tls_name *name, const uint8_t point[CSR_POINT_BYTES])
{
	static const uint8_t version;
	size_t before = der_len(d);

	put_attributes(d, name);
	put_public_key(d, point);
	der_wrap(d, DER_SEQUENCE, der_len(d)); /* the subject */
	der_put_integer(d, &version, 1);
	der_wrap(d, DER_SEQUENCE, before);
}

static int request_make(ecc_key *key, WC_RNG *rng, const struct tls_name *name, struct pem_text *ret)
{
	uint8_t info_bytes[CSR_DER_MAX], request_bytes[CSR_DER_MAX], point[CSR_POINT_BYTES], hash[CSR_HASH_BYTES],
		signature[CSR_SIGNATURE_MAX];
	struct der info = { .bytes = info_bytes, .cap_bytes = sizeof(info_bytes), .at = sizeof(info_bytes) };
	struct der request = { .bytes = request_bytes, .cap_bytes = sizeof(request_bytes), .at = sizeof(request_bytes) };
	word32 point_len = sizeof(point), signature_len = sizeof(signature);
	size_t algorithm;

	if (wc_ecc_export_x963(key, point, &point_len) != 0 || point_len != sizeof(point))
		return -EIO;
	put_info(&info, name, point);
	if (info.is_full || csr_hash(info.bytes + info.at, der_len(&info), hash) ||
	    wc_ecc_sign_hash(hash, sizeof(hash), signature, &signature_len, rng, key) != 0)
		return -EIO;
	put_bit_string(&request, signature, signature_len);
	algorithm = der_len(&request);
	der_put_value(&request, DER_OID, oid_ecdsa_sha256, sizeof(oid_ecdsa_sha256));
	der_wrap(&request, DER_SEQUENCE, algorithm);
	der_put(&request, info.bytes + info.at, der_len(&info));
	der_wrap(&request, DER_SEQUENCE, 0);
	if (request.is_full)
		return -EIO;
	return pem_append(ret, "CERTIFICATE REQUEST", request.bytes + request.at, der_len(&request));
}

int csr_make(const struct tls_name *name, struct pem_text *ret_key, struct pem_text *ret_request)
{
	struct pem_text key_text = { 0 }, request_text = { 0 };
	ecc_key key;
	WC_RNG rng;
	int r;

	if (!name->text[0])
		return -EINVAL;
	if (wc_InitRng(&rng) != 0)
		return -EIO;
	r = make_key(&key, &rng);
	if (!r)
		r = request_make(&key, &rng, name, &request_text);
	if (!r)
		r = make_key_pem(&key, &key_text);
	wc_ecc_free(&key);
	wc_FreeRng(&rng);
	if (r) {
		pem_free(&key_text);
		pem_free(&request_text);
		return r;
	}
	*ret_key = key_text;
	*ret_request = request_text;
	return 0;
}

/* --- reading --- */

static bool is_oid(const struct der_element *e, const uint8_t *oid, size_t len_bytes)
{
	return e->tag == DER_OID && e->content_len_bytes == len_bytes && memcmp(e->content, oid, len_bytes) == 0;
}

/* The inside of a BIT STRING of whole bytes. */
static bool take_bits(struct der_reader *r, const uint8_t **ret, size_t *ret_len)
{
	struct der_element e;

	if (!der_take(r, &e) || e.tag != DER_BIT_STRING || e.content_len_bytes < 1 || e.content[0] != 0)
		return false;
	*ret = e.content + 1;
	*ret_len = e.content_len_bytes - 1;
	return true;
}

static int read_public_key(struct der_reader *info, struct csr *ret, char fault[CSR_FAULT_BYTES])
{
	struct der_reader key, algorithm;
	struct der_element type, curve;
	const uint8_t *point;
	size_t point_len;

	if (!der_enter(info, DER_SEQUENCE, &key) || !der_enter(&key, DER_SEQUENCE, &algorithm) || !der_take(&algorithm, &type) ||
	    !take_bits(&key, &point, &point_len) || key.left)
		return csr_fault(fault, "is damaged: its public key can not be read");
	if (!is_oid(&type, oid_ec_key, sizeof(oid_ec_key)) || !der_take(&algorithm, &curve) ||
	    !is_oid(&curve, oid_p256, sizeof(oid_p256)) || algorithm.left)
		return csr_fault(fault, "is for another kind of key than EC P-256, the one that is signed");
	if (point_len != CSR_POINT_BYTES || point[0] != 0x04)
		return csr_fault(fault, "holds a P-256 key that is not an uncompressed point of %d bytes", CSR_POINT_BYTES);
	memcpy(ret->point, point, CSR_POINT_BYTES);
	return 0;
}

/* GeneralNames: exactly one, a URI or a DNS name. */
static int read_names(const struct der_element *value, struct csr *ret, char fault[CSR_FAULT_BYTES])
{
	struct der_reader whole = { value->content, value->content_len_bytes }, names;
	struct der_element name, more;

	if (!der_enter(&whole, DER_SEQUENCE, &names) || whole.left || !der_take(&names, &name))
		return csr_fault(fault, "is damaged: its subject alternative name can not be read");
	if (der_take(&names, &more))
		return csr_fault(fault, "asks for more than one subject alternative name, one is right");
	if (names.left)
		return csr_fault(fault, "is damaged: its subject alternative name can not be read");
	if (name.tag != TAG_URI && name.tag != TAG_DNS)
		return csr_fault(fault, "asks for a subject alternative name of type [%u]; a URI or a DNS name is right", name.tag & 0x1fu);
	if (name.content_len_bytes == 0 || name.content_len_bytes >= TLS_NAME_BYTES)
		return csr_fault(fault, "asks for a name of %zu bytes, 1 to %d are right", name.content_len_bytes, TLS_NAME_BYTES - 1);
	for (size_t i = 0; i < name.content_len_bytes; i++) {
		if (name.content[i] <= ' ' || name.content[i] > '~')
			return csr_fault(fault, "asks for a name with the byte 0x%02x inside, only visible ASCII is right",
			                 name.content[i]);
	}
	ret->name.type = name.tag == TAG_URI ? TLS_NAME_URI : TLS_NAME_DNS;
	memcpy(ret->name.text, name.content, name.content_len_bytes);
	ret->name.text[name.content_len_bytes] = '\0';
	return 0;
}

/* BasicConstraints: SEQUENCE { cA BOOLEAN DEFAULT FALSE, ... } */
static int read_constraints(const struct der_element *value, char fault[CSR_FAULT_BYTES])
{
	struct der_reader whole = { value->content, value->content_len_bytes }, constraints;
	struct der_element ca;

	if (!der_enter(&whole, DER_SEQUENCE, &constraints))
		return csr_fault(fault, "is damaged: its basic constraints can not be read");
	if (der_take(&constraints, &ca) && ca.tag == TAG_BOOLEAN && ca.content_len_bytes == 1 && !ca.content[0])
		return 0;
	if (value->content_len_bytes == 2)
		return 0; /* an empty sequence: no authority */
	return csr_fault(fault, "asks for an authority's certificate (CA:TRUE); only a node's is signed");
}

static int read_extensions(struct der_reader *extensions, struct csr *ret, char fault[CSR_FAULT_BYTES])
{
	struct der_element id, value;
	struct der_reader extension;
	int r = 0;

	while (extensions->left && !r) {
		if (!der_enter(extensions, DER_SEQUENCE, &extension) || !der_take(&extension, &id) || !der_take(&extension, &value))
			return csr_fault(fault, "is damaged: an extension can not be read");
		if (value.tag == TAG_BOOLEAN && !der_take(&extension, &value)) /* critical */
			return csr_fault(fault, "is damaged: an extension can not be read");
		if (value.tag != DER_OCTET_STRING || extension.left)
			return csr_fault(fault, "is damaged: an extension can not be read");
		if (is_oid(&id, oid_alternative_name, sizeof(oid_alternative_name))) {
			if (ret->name.text[0])
				return csr_fault(fault, "asks for subject alternative names twice, once is right");
			r = read_names(&value, ret, fault);
		} else if (is_oid(&id, oid_basic_constraints, sizeof(oid_basic_constraints))) {
			r = read_constraints(&value, fault);
		}
	}
	return r;
}

static int read_attributes(struct der_reader *info, struct csr *ret, char fault[CSR_FAULT_BYTES])
{
	struct der_reader attributes, attribute, values, extensions;
	struct der_element id;
	int r = 0;

	if (!info->left)
		return csr_fault(fault, "asks for no subject alternative name; one URI or DNS name is right");
	if (!der_enter(info, TAG_ATTRIBUTES, &attributes) || info->left)
		return csr_fault(fault, "is damaged: its attributes can not be read");
	while (attributes.left && !r) {
		if (!der_enter(&attributes, DER_SEQUENCE, &attribute) || !der_take(&attribute, &id) ||
		    !der_enter(&attribute, DER_SET, &values) || attribute.left)
			return csr_fault(fault, "is damaged: an attribute can not be read");
		if (!is_oid(&id, oid_extension_request, sizeof(oid_extension_request)))
			continue;
		if (!der_enter(&values, DER_SEQUENCE, &extensions) || values.left)
			return csr_fault(fault, "is damaged: its extensions can not be read");
		r = read_extensions(&extensions, ret, fault);
	}
	if (!r && !ret->name.text[0])
		return csr_fault(fault, "asks for no subject alternative name; one URI or DNS name is right");
	return r;
}

static int check_signature(const struct csr *csr, const struct der_element *info, const uint8_t *signature, size_t signature_len,
                           char fault[CSR_FAULT_BYTES])
{
	uint8_t hash[CSR_HASH_BYTES];
	int is_good = 0, r = 0;
	ecc_key key;

	if (csr_hash(info->whole, info->whole_len_bytes, hash) || wc_ecc_init(&key) != 0) {
		snprintf(fault, CSR_FAULT_BYTES, "can not be verified: the library fails");
		return -EIO;
	}
	if (wc_ecc_import_x963_ex(csr->point, CSR_POINT_BYTES, &key, ECC_SECP256R1) != 0 || wc_ecc_check_key(&key) != 0)
		r = csr_fault(fault, "holds a key that is no point of the curve P-256");
	else if (wc_ecc_verify_hash(signature, (word32)signature_len, hash, sizeof(hash), &is_good, &key) != 0 || is_good != 1)
		r = csr_fault(fault, "is not signed by the key that is in it");
	wc_ecc_free(&key);
	return r;
}

int csr_read(const uint8_t *der, size_t len_bytes, struct csr *ret, char fault[CSR_FAULT_BYTES])
{
	struct der_reader file = { der, len_bytes }, request, algorithm, info;
	struct der_element info_whole, algorithm_id, e;
	const uint8_t *signature;
	size_t signature_len;
	struct csr csr = { 0 };
	int r;

	if (len_bytes > CSR_READ_MAX)
		return csr_fault(fault, "has %zu bytes, at most %d are read", len_bytes, CSR_READ_MAX);
	if (!der_enter(&file, DER_SEQUENCE, &request) || file.left || !der_take(&request, &info_whole) || info_whole.tag != DER_SEQUENCE ||
	    !der_enter(&request, DER_SEQUENCE, &algorithm) || !der_take(&algorithm, &algorithm_id) ||
	    !take_bits(&request, &signature, &signature_len) || request.left)
		return csr_fault(fault, "is no PKCS#10 request, or is damaged");
	info = (struct der_reader){ info_whole.content, info_whole.content_len_bytes };
	if (!der_take(&info, &e) || e.tag != DER_INTEGER || !der_take(&info, &e) || e.tag != DER_SEQUENCE)
		return csr_fault(fault, "is no PKCS#10 request, or is damaged");
	if (!is_oid(&algorithm_id, oid_ecdsa_sha256, sizeof(oid_ecdsa_sha256)) || algorithm.left)
		return csr_fault(fault, "is not signed by ECDSA with SHA-256, the one kind that is taken");
	r = read_public_key(&info, &csr, fault);
	if (!r)
		r = read_attributes(&info, &csr, fault);
	if (!r)
		r = check_signature(&csr, &info_whole, signature, signature_len, fault);
	if (!r)
		*ret = csr;
	return r;
}

int csr_read_pem(const char *text, size_t len_bytes, struct csr *ret, char fault[CSR_FAULT_BYTES])
{
	enum pem_fault pem_fault;
	struct pem pem;
	unsigned line;
	int r;

	if (len_bytes > 2 * CSR_READ_MAX)
		return csr_fault(fault, "has %zu bytes, at most %d are read", len_bytes, 2 * CSR_READ_MAX);
	pem_fault = pem_parse(text, len_bytes, &pem, &line);
	if (pem_fault)
		return csr_fault(fault, "%s", pem_fault_text(pem_fault));
	if (pem.count != 1 || strcmp(pem.blocks[0].label, "CERTIFICATE REQUEST") != 0)
		r = csr_fault(fault, "must be one PEM block CERTIFICATE REQUEST; found are %zu, the first a %s", pem.count,
		              pem.blocks[0].label);
	else
		r = csr_read(pem.blocks[0].der, pem.blocks[0].len_bytes, ret, fault);
	pem_done(&pem);
	return r;
}
