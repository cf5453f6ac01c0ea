/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tls/folder.h"

#include <wolfssl/wolfcrypt/asn_public.h>

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* An authority's own two files are less than 1 KB. */
enum { CA_FILE_MAX = 64 << 10 };

int ca_error(char error[CA_ERROR_BYTES], int r, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(error, CA_ERROR_BYTES, format, args);
	va_end(args);
	return r;
}

int ca_dir_open(const char *dir, bool make, int *ret_fd, char error[CA_ERROR_BYTES])
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

int ca_file_write(int dir_fd, const char *dir, const char *name, mode_t mode, const struct pem_text *text, bool is_new,
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

void ca_done(struct ca *ca)
{
	if (ca->has_key)
		wc_ecc_free(&ca->key);
	free(ca->der);
}

int ca_take_key(struct ca *ca, const struct pem_block *block)
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

bool ca_key_fits(struct ca *ca)
{
	Cert *c = wc_CertNew(NULL);
	bool fits;

	fits = c && wc_InitCert(c) == 0 && wc_SetSubjectKeyIdFromPublicKey(c, NULL, &ca->key) == 0 && ca->cert.has_subject_key_id &&
	       memcmp(c->skid, ca->cert.subject_key_id, CERT_ID_BYTES) == 0;
	wc_CertFree(c);
	return fits;
}

static int ca_load_any(const char *dir, struct ca *ret, char error[CA_ERROR_BYTES])
{
	struct ca ca = { 0 };
	struct pem pem = { 0 };
	char fault[CERT_FAULT_BYTES];
	int dir_fd, r;

	r = ca_dir_open(dir, false, &dir_fd, error);
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

int ca_load(const char *dir, struct ca *ret, char error[CA_ERROR_BYTES])
{
	char end[CERT_TIME_BYTES];
	int r = ca_load_any(dir, ret, error);

	if (!r && ret->cert.peer.not_after_s < time(NULL)) {
		r = ca_error(error, -EINVAL, "%s/ca.crt: the authority expired on %s", dir,
		             cert_time_text(ret->cert.peer.not_after_s, end));
		ca_done(ret);
	}
	return r;
}
