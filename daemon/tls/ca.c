/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tls/ca.h"

#include "tls/cert.h"

#include <wolfssl/wolfcrypt/settings.h>
#include <wolfssl/version.h>
#include <wolfssl/wolfcrypt/asn.h>
#include <wolfssl/wolfcrypt/asn_public.h>
#include <wolfssl/wolfcrypt/ecc.h>
#include <wolfssl/wolfcrypt/error-crypt.h>
#include <wolfssl/wolfcrypt/random.h>

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
	CA_KEY_BYTES = 32, /* P-256 */
	CA_CLOCK_SKEW_S = 300,
	CA_DAY_S = 24 * 3600,
	CA_FILE_MAX = 64 << 10,
	CA_SERIAL_BYTES = 16,
	CA_CRL_MAX = 1 << 20, /* about 20,000 revoked certificates */
};

/* 9999-12-31T23:59:59Z, the last that a certificate can say (RFC 5280, 4.1.2.5). */
#define CA_TIME_MAX INT64_C(253402300799)

/* An authority that was read: its key, and its certificate. */
struct ca {
	ecc_key key;
	bool has_key;
	uint8_t *der;
	size_t der_len_bytes;
	struct cert cert;
};

__attribute__((format(printf, 3, 4))) static int ca_error(char error[CA_ERROR_BYTES], int r, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(error, CA_ERROR_BYTES, format, args);
	va_end(args);
	return r;
}

/* --- DER, written from the end to the front so that lengths are known --- */

struct der {
	uint8_t *bytes;
	size_t cap_bytes, at; /* at: where the front is */
	bool is_full;
};

static size_t der_len(const struct der *d)
{
	return d->cap_bytes - d->at;
}

static void der_put(struct der *d, const void *bytes, size_t len_bytes)
{
	if (len_bytes > d->at) {
		d->is_full = true;
		return;
	}
	d->at -= len_bytes;
	memcpy(d->bytes + d->at, bytes, len_bytes);
}

/* Puts tag and length before what was written since the buffer held before_bytes. */
static void der_wrap(struct der *d, uint8_t tag, size_t before_bytes)
{
	size_t n = der_len(d) - before_bytes;
	uint8_t head[6];
	size_t len = 0, length_bytes = 0;

	head[len++] = tag;
	if (n < 0x80) {
		head[len++] = (uint8_t)n;
	} else {
		for (size_t rest = n; rest; rest >>= 8)
			length_bytes++;
		head[len++] = (uint8_t)(0x80 | length_bytes);
		for (size_t i = length_bytes; i-- > 0;)
			head[len++] = (uint8_t)(n >> (8 * i));
	}
	der_put(d, head, len);
}

static void der_put_value(struct der *d, uint8_t tag, const void *bytes, size_t len_bytes)
{
	size_t before = der_len(d);

	der_put(d, bytes, len_bytes);
	der_wrap(d, tag, before);
}

/* big: an unsigned number, most significant byte first. */
static void der_put_integer(struct der *d, const uint8_t *big, size_t len_bytes)
{
	static const uint8_t zero;
	size_t before = der_len(d);

	while (len_bytes > 1 && *big == 0) {
		big++;
		len_bytes--;
	}
	der_put(d, big, len_bytes);
	if (len_bytes && (big[0] & 0x80))
		der_put(d, &zero, 1);
	der_wrap(d, ASN_INTEGER, before);
}

/* UTCTime up to 2049, then GeneralizedTime (RFC 5280, 4.1.2.5). Returns its whole length: tag, length, digits. */
static size_t der_time(int64_t time_s, uint8_t ret[CTC_DATE_SIZE])
{
	time_t t = (time_t)time_s;
	struct tm tm = { 0 };
	char text[CTC_DATE_SIZE];
	bool is_utc;
	size_t n;

	gmtime_r(&t, &tm);
	is_utc = tm.tm_year < 150;
	n = strftime(text, sizeof(text), is_utc ? "%y%m%d%H%M%SZ" : "%Y%m%d%H%M%SZ", &tm);
	ret[0] = is_utc ? ASN_UTC_TIME : ASN_GENERALIZED_TIME;
	ret[1] = (uint8_t)n;
	memcpy(ret + 2, text, n);
	return n + 2;
}

/* --- files --- */

static int dir_open(const char *dir, bool make, int *ret_fd, char error[CA_ERROR_BYTES])
{
	int fd;

	if (make && mkdir(dir, 0700) && errno != EEXIST)
		return ca_error(error, -errno, "%s: can not be made: %s", dir, strerror(errno));
	fd = open(dir, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return ca_error(error, -errno, "%s: %s", dir, strerror(errno));
	*ret_fd = fd;
	return 0;
}

static int write_all(int fd, const char *bytes, size_t len_bytes)
{
	while (len_bytes) {
		ssize_t n = write(fd, bytes, len_bytes);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			bytes += n;
			len_bytes -= (size_t)n;
		}
	}
	return 0;
}

/* is_new: an older file of that name stays and the answer is -EEXIST. */
static int file_write(int dir_fd, const char *dir, const char *name, mode_t mode, const struct pem_text *text, bool is_new,
                      char error[CA_ERROR_BYTES])
{
	char temporary[64];
	int fd, r;

	snprintf(temporary, sizeof(temporary), ".%.32s.%d", name, (int)getpid());
	(void)unlinkat(dir_fd, temporary, 0);
	fd = openat(dir_fd, temporary, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, mode);
	if (fd < 0)
		return ca_error(error, -errno, "%s/%s: can not be written: %s", dir, name, strerror(errno));
	r = fchmod(fd, mode) ? -errno : write_all(fd, text->text, text->len_bytes);
	if (!r && fsync(fd))
		r = -errno;
	if (close(fd) && !r)
		r = -errno;
	if (!r && renameat2(dir_fd, temporary, dir_fd, name, is_new ? RENAME_NOREPLACE : 0))
		r = -errno;
	if (!r && fsync(dir_fd))
		r = -errno;
	if (r) {
		(void)unlinkat(dir_fd, temporary, 0);
		return ca_error(error, r, "%s/%s: can not be written: %s", dir, name, strerror(-r));
	}
	return 0;
}

/* Reads the first PEM block of a file. */
static int file_read_block(int dir_fd, const char *dir, const char *name, struct pem *ret, char error[CA_ERROR_BYTES])
{
	int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC), r = 0;
	char *text = NULL;
	size_t len = 0;
	ssize_t n;
	enum pem_fault fault;
	unsigned line;

	if (fd < 0)
		return ca_error(error, -errno, "%s/%s: %s", dir, name, strerror(errno));
	text = malloc(CA_FILE_MAX);
	if (!text) {
		r = ca_error(error, -ENOMEM, "%s/%s: out of memory", dir, name);
		goto out;
	}
	while (len < CA_FILE_MAX && (n = read(fd, text + len, CA_FILE_MAX - len)) != 0) {
		if (n < 0 && errno != EINTR) {
			r = ca_error(error, -errno, "%s/%s: %s", dir, name, strerror(errno));
			goto out;
		}
		len += n > 0 ? (size_t)n : 0;
	}
	fault = pem_parse(text, len, ret, &line);
	if (fault)
		r = ca_error(error, -EINVAL, "%s/%s: %s", dir, name, pem_fault_text(fault));
out:
	if (text)
		explicit_bzero(text, len);
	free(text);
	close(fd);
	return r;
}

/* --- keys and certificates --- */

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

/* --- an authority in a folder --- */

static void ca_done(struct ca *ca)
{
	if (ca->has_key)
		wc_ecc_free(&ca->key);
	free(ca->der);
}

static int ca_take_key(struct ca *ca, const struct pem_block *block)
{
	word32 at = 0;

	if (wc_ecc_init(&ca->key) != 0)
		return -EIO;
	ca->has_key = true;
	if (wc_EccPrivateKeyDecode(block->der, &at, &ca->key, (word32)block->len_bytes) != 0)
		return -EINVAL;
	/* A key that comes without its public part. */
	if (ca->key.type == ECC_PRIVATEKEY_ONLY && wc_ecc_make_pub(&ca->key, NULL) != 0)
		return -EINVAL;
	return 0;
}

/* Whether key belongs to the authority's certificate: by the key identifier, which is the hash of the public key in what ca_init makes. */
static bool ca_key_fits(struct ca *ca)
{
	Cert *c = wc_CertNew(NULL);
	bool fits;

	fits = c && wc_InitCert(c) == 0 && wc_SetSubjectKeyIdFromPublicKey(c, NULL, &ca->key) == 0 && ca->cert.has_subject_key_id &&
	       memcmp(c->skid, ca->cert.subject_key_id, CERT_ID_BYTES) == 0;
	wc_CertFree(c);
	return fits;
}

static int ca_load(const char *dir, struct ca *ret, char error[CA_ERROR_BYTES])
{
	struct ca ca = { 0 };
	struct pem pem = { 0 };
	char fault[CERT_FAULT_BYTES];
	int dir_fd, r;

	r = dir_open(dir, false, &dir_fd, error);
	if (r)
		return r;
	r = file_read_block(dir_fd, dir, "ca.crt", &pem, error);
	if (r)
		goto out;
	ca.der = pem.blocks[0].der;
	ca.der_len_bytes = pem.blocks[0].len_bytes;
	pem.blocks[0].der = NULL;
	pem_done(&pem);
	if (cert_read(ca.der, ca.der_len_bytes, &ca.cert, fault) || !ca.cert.is_authority) {
		r = ca_error(error, -EINVAL, "%s/ca.crt: is no authority's certificate", dir);
		goto out;
	}
	r = file_read_block(dir_fd, dir, "ca.key", &pem, error);
	if (r)
		goto out;
	if (ca_take_key(&ca, &pem.blocks[0])) {
		r = ca_error(error, -EINVAL, "%s/ca.key: holds no EC private key, as ca init makes it", dir);
		goto out;
	}
	if (!ca_key_fits(&ca)) {
		r = ca_error(error, -EINVAL, "%s/ca.key: does not belong to the certificate in %s/ca.crt", dir, dir);
		goto out;
	}
	*ret = ca;
out:
	if (r)
		ca_done(&ca);
	pem_done(&pem);
	close(dir_fd);
	return r;
}

static int ca_load_valid(const char *dir, struct ca *ret, char error[CA_ERROR_BYTES])
{
	char end[CERT_TIME_BYTES];
	int r = ca_load(dir, ret, error);

	if (!r && ret->cert.peer.not_after_s < time(NULL)) {
		r = ca_error(error, -EINVAL, "%s/ca.crt: the authority expired on %s", dir,
		             cert_time_text(ret->cert.peer.not_after_s, end));
		ca_done(ret);
	}
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
	r = dir_open(dir, true, &dir_fd, error);
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
	r = file_write(dir_fd, dir, "ca.key", 0600, &key_text, true, error);
	if (!r)
		r = file_write(dir_fd, dir, "ca.crt", 0644, &cert_text, true, error);
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
	uint8_t key_der[CA_DER_MAX], *der = malloc(CA_FILE_MAX);
	size_t der_len_bytes, key_len_bytes = 0;
	int dir_fd = -1, r = -ENOMEM;

	if (der)
		r = leaf_make(ca, key, leaf, rng, der, CA_FILE_MAX, &der_len_bytes);
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
	r = dir_open(out_dir, true, &dir_fd, error);
	if (!r)
		r = file_write(dir_fd, out_dir, "ca.crt", 0644, &ca_text, false, error);
	if (!r)
		r = file_write(dir_fd, out_dir, "tls.key", 0600, &key_text, false, error);
	if (!r)
		r = file_write(dir_fd, out_dir, "tls.crt", 0644, &cert_text, false, error);
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
	r = ca_load_valid(ca_dir, &ca, error);
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

/* --- revocation lists (RFC 5280, 5) --- */

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
	uint8_t number[EXTERNAL_SERIAL_SIZE], date[CTC_DATE_SIZE];
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
	int64_t now_s = time(NULL), next_s = now_s + (int64_t)days * CA_DAY_S;
	/* A list that is out of date began before its end. */
	int64_t this_s = (days < 0 ? next_s : now_s) - CA_CLOCK_SKEW_S;
	uint8_t date[CTC_DATE_SIZE];
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
	r = dir_open(dir, false, &dir_fd, error);
	if (r)
		goto out;
	r = file_write(dir_fd, dir, name, 0644, &text, false, error);
	close(dir_fd);
out:
	pem_free(&text);
	free(dir);
	return r;
}

int ca_revoke(const char *ca_dir, const char *out_path, const char *const *serials, size_t serials_count, uint64_t number, int days,
              char error[CA_ERROR_BYTES])
{
	struct der d = { .bytes = malloc(CA_CRL_MAX), .cap_bytes = CA_CRL_MAX, .at = CA_CRL_MAX };
	struct ca ca = { 0 };
	WC_RNG rng;
	int n, r;

	if (!d.bytes)
		return ca_error(error, -ENOMEM, "out of memory");
	r = ca_load_valid(ca_dir, &ca, error);
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
	n = wc_SignCert(n, CTC_SHA256wECDSA, d.bytes, CA_CRL_MAX, NULL, &ca.key, &rng);
	wc_FreeRng(&rng);
	r = n > 0 ? crl_write(out_path, d.bytes, (size_t)n, error)
	          : ca_error(error, -EIO, "the revocation list can not be signed: %s", wc_GetErrorString(n));
out_ca:
	ca_done(&ca);
out:
	free(d.bytes);
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
