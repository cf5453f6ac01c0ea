/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tls/cred.h"

#include "tls/cert.h"
#include "tls/crl.h"
#include "tls/ctx.h"
#include "tls/verify.h"

#include <wolfssl/wolfcrypt/error-crypt.h>
#include <wolfssl/wolfcrypt/sha256.h>

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Sixteen authorities are 30 KB; a list of 100,000 revoked certificates is 4 MB. */
enum { CRED_FILE_MAX_BYTES = 8 << 20 };

enum cred_file_id { CRED_CERT, CRED_KEY, CRED_BUNDLE, CRED_CA, CRED_CRL, CRED_FILES };

struct cred_file {
	char *text;
	size_t len_bytes;
	bool is_there;
	struct pem pem;
};

/* All that a load holds; freed, and keys wiped, in one place. */
struct cred_load {
	const char *directory;
	char *error;
	struct cred_file files[CRED_FILES];
	struct pem_text chain;
	struct cert leaf;
	const struct pem_block *key;
	enum cred_file_id cert_file, key_file; /* the same for a bundle */
	struct cert authorities[CRED_AUTHORITIES_MAX];
	size_t authorities_count;
	struct tls_blob valid[CRED_AUTHORITIES_MAX]; /* those whose time it is */
	unsigned valid_lines[CRED_AUTHORITIES_MAX];
	size_t valid_count;
	struct tls_blob crls[PEM_BLOCKS_MAX];
	size_t crls_count;
};

static const char *const file_names[] = {
	[CRED_CERT] = "tls.crt", [CRED_KEY] = "tls.key", [CRED_BUNDLE] = "tls.pem", [CRED_CA] = "ca.crt", [CRED_CRL] = "crl.pem",
};

__attribute__((format(printf, 3, 4))) static int load_fault(struct cred_load *l, enum cred_file_id file, const char *format, ...)
{
	va_list args;
	int n;

	n = snprintf(l->error, CRED_ERROR_BYTES, "%.200s/%s: ", l->directory, file_names[file]);
	va_start(args, format);
	vsnprintf(l->error + n, (size_t)(CRED_ERROR_BYTES - n), format, args);
	va_end(args);
	return -EINVAL;
}

static int load_error(struct cred_load *l, const char *what, int error)
{
	snprintf(l->error, CRED_ERROR_BYTES, "%.200s%s%s: %s", l->directory, what[0] ? "/" : "", what, strerror(error));
	return -error;
}

/* --- files --- */

static int file_read(struct cred_load *l, int dir_fd, enum cred_file_id id)
{
	struct cred_file *f = &l->files[id];
	/* O_NONBLOCK: opening a pipe that lies there must not stop the daemon. */
	int fd = openat(dir_fd, file_names[id], O_RDONLY | O_CLOEXEC | O_NONBLOCK), r = 0;
	struct stat st;
	ssize_t n;

	if (fd < 0)
		return errno == ENOENT ? 0 : load_error(l, file_names[id], errno);
	if (fstat(fd, &st)) {
		r = load_error(l, file_names[id], errno);
		goto out;
	}
	if (!S_ISREG(st.st_mode)) {
		r = load_fault(l, id, "is no regular file");
		goto out;
	}
	if (st.st_size > CRED_FILE_MAX_BYTES) {
		r = load_fault(l, id, "has %lld bytes, at most %d are read", (long long)st.st_size, CRED_FILE_MAX_BYTES);
		goto out;
	}
	f->text = malloc((size_t)st.st_size + 1);
	if (!f->text) {
		r = load_error(l, file_names[id], ENOMEM);
		goto out;
	}
	while (f->len_bytes < (size_t)st.st_size) {
		n = read(fd, f->text + f->len_bytes, (size_t)st.st_size - f->len_bytes);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			r = load_error(l, file_names[id], errno);
			goto out;
		}
		if (n == 0)
			break; /* cut meanwhile: what is there is judged, and a change will be told */
		f->len_bytes += (size_t)n;
	}
	f->text[f->len_bytes] = '\0';
	f->is_there = true;
out:
	close(fd);
	return r;
}

/* Reads all files of one generation. Kubernetes swaps the link ..data; what is behind an open handle of its folder stays what it was. */
static int load_read(struct cred_load *l)
{
	int dir_fd = open(l->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC), data_fd, r = 0;

	if (dir_fd < 0)
		return load_error(l, "", errno);
	data_fd = openat(dir_fd, "..data", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (data_fd < 0 && errno != ENOENT)
		r = load_error(l, "..data", errno);
	for (int i = 0; i < CRED_FILES && !r; i++)
		r = file_read(l, data_fd >= 0 ? data_fd : dir_fd, i);
	if (data_fd >= 0)
		close(data_fd);
	close(dir_fd);
	return r;
}

static int load_parse(struct cred_load *l, enum cred_file_id id)
{
	struct cred_file *f = &l->files[id];
	enum pem_fault fault;
	unsigned line = 0;

	if (!f->is_there)
		return load_fault(l, id, "is missing");
	/* The headers of an old-style encrypted key look like damaged base64. */
	if (strstr(f->text, "\nProc-Type: 4,ENCRYPTED"))
		return load_fault(l, id, "holds an encrypted private key: it must be stored unencrypted, protected by the file's mode");
	fault = pem_parse(f->text, f->len_bytes, &f->pem, &line);
	if (fault == PEM_NO_MEMORY)
		return load_error(l, file_names[id], ENOMEM);
	if (fault && line)
		return load_fault(l, id, "line %u: %s", line, pem_fault_text(fault));
	if (fault)
		return load_fault(l, id, "%s", pem_fault_text(fault));
	return 0;
}

/* --- our own certificate and key --- */

static bool label_is_key(const char *label)
{
	return strcmp(label, "PRIVATE KEY") == 0 || strcmp(label, "EC PRIVATE KEY") == 0 || strcmp(label, "RSA PRIVATE KEY") == 0;
}

static int load_choose_files(struct cred_load *l)
{
	bool has_pair = l->files[CRED_CERT].is_there || l->files[CRED_KEY].is_there;

	if (has_pair && l->files[CRED_BUNDLE].is_there)
		return load_fault(l, CRED_BUNDLE, "stands beside %s: which of them counts is not clear, remove one",
		                  file_names[l->files[CRED_CERT].is_there ? CRED_CERT : CRED_KEY]);
	l->cert_file = l->files[CRED_BUNDLE].is_there ? CRED_BUNDLE : CRED_CERT;
	l->key_file = l->files[CRED_BUNDLE].is_there ? CRED_BUNDLE : CRED_KEY;
	if (!has_pair && !l->files[CRED_BUNDLE].is_there)
		return load_fault(l, CRED_CERT, "is missing, and so is tls.pem, a bundle that could stand in its place");
	return 0;
}

static int load_take_key(struct cred_load *l)
{
	enum cred_file_id id = l->key_file;
	const struct pem *pem = &l->files[id].pem;

	for (size_t i = 0; i < pem->count; i++) {
		const struct pem_block *b = &pem->blocks[i];

		if (strcmp(b->label, "ENCRYPTED PRIVATE KEY") == 0)
			return load_fault(
				l, id,
				"line %u: holds an encrypted private key: it must be stored unencrypted, protected by the file's mode",
				b->line);
		if (strcmp(b->label, "EC PARAMETERS") == 0)
			continue; /* OpenSSL writes them before an EC key; the key says the same */
		if (id == CRED_BUNDLE && strcmp(b->label, "CERTIFICATE") == 0) {
			if (!l->key)
				return load_fault(l, id,
				                  "line %u: a certificate stands before the private key, which must come first in a bundle",
				                  b->line);
			continue;
		}
		if (!label_is_key(b->label))
			return load_fault(l, id, "line %u: holds a %s where a PRIVATE KEY should be", b->line, b->label);
		if (l->key)
			return load_fault(l, id, "line %u: holds a second private key, one is needed", b->line);
		l->key = b;
	}
	return l->key ? 0 : load_fault(l, id, "holds no private key");
}

static int load_append_chain(struct cred_load *l, const struct pem_block *b)
{
	return pem_append(&l->chain, "CERTIFICATE", b->der, b->len_bytes) ? load_error(l, file_names[l->cert_file], ENOMEM) : 0;
}

static int load_check_time(struct cred_load *l, enum cred_file_id id, unsigned line, const struct cert *cert)
{
	char text[TLS_ERROR_BYTES];
	int64_t now_s = time(NULL);

	if (now_s > cert->peer.not_after_s)
		verify_describe(ASN_AFTER_DATE_E, "the certificate", cert, text);
	else if (now_s < cert->not_before_s)
		verify_describe(ASN_BEFORE_DATE_E, "the certificate", cert, text);
	else
		return 0;
	return load_fault(l, id, "line %u: %s", line, text);
}

/* "URI:a, DNS:b" */
static void names_text(const struct tls_peer *peer, char *text, size_t cap_bytes)
{
	char name[CERT_NAME_TEXT_BYTES];
	size_t at = 0;

	text[0] = '\0';
	for (size_t i = 0; i < peer->names_count && at < cap_bytes; i++)
		at += (size_t)snprintf(text + at, cap_bytes - at, "%s%s", i ? ", " : "", cert_name_text(&peer->names[i], name));
}

static int load_check_names(struct cred_load *l, const struct tls_name *expected)
{
	const struct tls_peer *self = &l->leaf.peer;
	char name[CERT_NAME_TEXT_BYTES], found[192];
	size_t matches = 0;

	if (!self->names_count)
		return load_fault(l, l->cert_file,
		                  "the certificate holds no URI or DNS name (subject alternative name), other nodes know this one by it");
	for (size_t i = 0; i < self->names_count; i++) {
		if (strchr(self->names[i].text, '*'))
			return load_fault(l, l->cert_file,
			                  "the certificate holds the wildcard %.160s, which names no single node: "
			                  "one with this node's own name is needed",
			                  cert_name_text(&self->names[i], name));
		if (expected && self->names[i].type == expected->type && strcmp(self->names[i].text, expected->text) == 0)
			matches++;
	}
	if (!expected || matches == 1)
		return 0;
	names_text(self, found, sizeof(found));
	cert_name_text(expected, name);
	if (matches)
		return load_fault(l, l->cert_file, "the certificate holds the name %.160s %zu times, once is right", name, matches);
	return load_fault(l, l->cert_file, "the certificate is for %s, this node's must be for %.160s", found, name);
}

static int load_check_usages(struct cred_load *l)
{
	const struct cert *c = &l->leaf;
	const char *found = c->has_server_usage ? "serverAuth alone" : c->has_client_usage ? "clientAuth alone" : "neither of them";

	if (c->has_server_usage && c->has_client_usage)
		return 0;
	return load_fault(l, l->cert_file, "the certificate has %s, both extended key usages serverAuth and clientAuth are needed", found);
}

static int load_take_chain(struct cred_load *l, const struct tls_name *expected)
{
	enum cred_file_id id = l->cert_file;
	const struct pem *pem = &l->files[id].pem;
	char fault[CERT_FAULT_BYTES];
	struct cert cert;
	size_t count = 0;
	int r;

	for (size_t i = 0; i < pem->count; i++) {
		const struct pem_block *b = &pem->blocks[i];

		if (id == CRED_BUNDLE && strcmp(b->label, "CERTIFICATE") != 0)
			continue; /* the key, judged elsewhere */
		if (strcmp(b->label, "CERTIFICATE") != 0)
			return load_fault(l, id, "line %u: holds a %s where a CERTIFICATE should be", b->line, b->label);
		memset(&cert, 0, sizeof(cert));
		/* The names of what stands above the leaf play no role. */
		if (cert_read(b->der, b->len_bytes, &cert, fault) && (count == 0 || !cert.peer.not_after_s))
			return load_fault(l, id, "line %u: the certificate %s", b->line, fault);
		r = load_check_time(l, id, b->line, &cert);
		if (r)
			return r;
		if (count == 0 && cert.is_authority)
			return load_fault(l, id, "line %u: is an authority's certificate (%s), the node's own must come first", b->line,
			                  cert.subject);
		if (count > 0 && !cert.is_authority)
			return load_fault(l, id,
			                  "line %u: behind the node's own certificate only its authorities' may stand, this is none (%s)",
			                  b->line, cert.subject);
		if (count++ == 0)
			l->leaf = cert;
		r = load_append_chain(l, b);
		if (r)
			return r;
	}
	if (!count)
		return load_fault(l, id, "holds no certificate");
	r = load_check_usages(l);
	return r ? r : load_check_names(l, expected);
}

/* --- authorities and revocation --- */

static int load_take_authorities(struct cred_load *l)
{
	const struct pem *pem = &l->files[CRED_CA].pem;
	char fault[CERT_FAULT_BYTES], end[CERT_TIME_BYTES];
	int64_t now_s = time(NULL);

	if (pem->count > CRED_AUTHORITIES_MAX)
		return load_fault(l, CRED_CA, "holds %zu blocks, at most %d authorities are taken", pem->count, CRED_AUTHORITIES_MAX);
	for (size_t i = 0; i < pem->count; i++) {
		const struct pem_block *b = &pem->blocks[i];
		struct cert *cert = &l->authorities[i];

		if (strcmp(b->label, "CERTIFICATE") != 0)
			return load_fault(l, CRED_CA, "line %u: holds a %s where an authority's CERTIFICATE should be", b->line, b->label);
		if (cert_read(b->der, b->len_bytes, cert, fault) && !cert->peer.not_after_s)
			return load_fault(l, CRED_CA, "line %u: the certificate %s", b->line, fault);
		if (!cert->is_authority)
			return load_fault(l, CRED_CA,
			                  "line %u: is no authority's certificate, CA:TRUE and the key usage keyCertSign are needed (%s)",
			                  b->line, cert->subject);
		l->authorities_count++;
		/* Bundles keep old authorities for a while; one that ended vouches for nobody and stops nobody. */
		if (now_s > cert->peer.not_after_s || now_s < cert->not_before_s)
			continue;
		l->valid_lines[l->valid_count] = b->line;
		l->valid[l->valid_count++] = (struct tls_blob){ b->der, b->len_bytes };
	}
	if (l->valid_count)
		return 0;
	return load_fault(l, CRED_CA, "no authority in it is valid now; the first, %s, is valid until %s", l->authorities[0].subject,
	                  cert_time_text(l->authorities[0].peer.not_after_s, end));
}

static int load_take_crls(struct cred_load *l)
{
	const struct pem *pem = &l->files[CRED_CRL].pem;
	bool has_list[CRED_AUTHORITIES_MAX] = { false };
	char end[CERT_TIME_BYTES];
	struct crl crl;

	for (size_t i = 0; i < pem->count; i++) {
		const struct pem_block *b = &pem->blocks[i];
		bool is_known = false;

		if (strcmp(b->label, "X509 CRL") != 0)
			return load_fault(l, CRED_CRL, "line %u: holds a %s where an X509 CRL should be", b->line, b->label);
		if (crl_read(b->der, b->len_bytes, &crl))
			return load_fault(l, CRED_CRL, "line %u: the revocation list can not be read", b->line);
		for (size_t k = 0; k < l->valid_count; k++) {
			if (crl_is_of(&crl, l->valid[k].der, l->valid[k].len_bytes))
				is_known = has_list[k] = true;
		}
		if (!is_known)
			return load_fault(l, CRED_CRL, "line %u: the revocation list is of an authority that ca.crt does not hold",
			                  b->line);
		if (crl.has_next_update && crl.next_update_s < time(NULL))
			return load_fault(l, CRED_CRL, "line %u: the revocation list is out of date, its next was due on %s", b->line,
			                  cert_time_text(crl.next_update_s, end));
		l->crls[l->crls_count++] = (struct tls_blob){ b->der, b->len_bytes };
	}
	for (size_t k = 0; k < l->valid_count; k++) {
		if (!has_list[k])
			return load_fault(l, CRED_CRL, "holds no list of the authority in line %u of ca.crt; each authority needs one",
			                  l->valid_lines[k]);
	}
	return 0;
}

/* --- the whole --- */

static int load_describe_fault(struct cred_load *l, const struct tls_fault *f)
{
	const char *why = wolfSSL_ERR_reason_error_string((unsigned long)f->code);

	switch (f->part) {
	case TLS_PART_CHAIN:
		return load_fault(l, l->cert_file, "the certificate can not be used: %s", why);
	case TLS_PART_KEY:
		return load_fault(l, l->key_file, "line %u: the private key can not be used: %s", l->key->line, why);
	case TLS_PART_KEY_MATCH:
		return load_fault(l, l->key_file, "line %u: the private key does not belong to the certificate in %s", l->key->line,
		                  file_names[l->cert_file]);
	case TLS_PART_AUTHORITY:
		return load_fault(l, CRED_CA, "line %u: the authority can not be used: %s", l->valid_lines[f->index], why);
	case TLS_PART_CRL:
		return load_fault(l, CRED_CRL, "list %zu in it can not be used: %s", f->index + 1, why);
	case TLS_PART_LIBRARY:
		break;
	}
	return load_fault(l, l->cert_file, "TLS can not be set up: %s", why);
}

static int load_describe_proof(struct cred_load *l, int code, const char *text)
{
	char held[160];
	size_t at = 0;

	if (code != ASN_NO_SIGNER_E && code != ASN_SELF_SIGNED_E)
		return load_fault(l, l->cert_file, "no other node would take it: %s", text);
	for (size_t i = 0; i < l->authorities_count && at < sizeof(held); i++)
		at += (size_t)snprintf(held + at, sizeof(held) - at, "%s%s", i ? ", " : "", l->authorities[i].subject);
	return load_fault(l, l->cert_file, "the certificate was issued by %s, which is no valid authority of ca.crt (it holds %s)",
	                  l->leaf.issuer, held);
}

static int load_make_context(struct cred_load *l, struct tls_ctx **ret)
{
	struct tls_material material = {
		.chain = &l->chain,
		.key = { l->key->der, l->key->len_bytes },
		.authorities = l->valid,
		.authorities_count = l->valid_count,
		.crls = l->crls,
		.crls_count = l->crls_count,
	};
	char text[TLS_ERROR_BYTES];
	struct tls_fault fault;
	struct tls_ctx *ctx;
	int code, r;

	r = tls_ctx_create(&material, &ctx, &fault);
	if (r == -ENOMEM)
		return load_error(l, "", ENOMEM);
	if (r)
		return load_describe_fault(l, &fault);
	r = tls_ctx_prove(ctx, &l->leaf.peer, &code, text);
	if (r) {
		tls_ctx_unref(ctx);
		return load_describe_proof(l, code, text);
	}
	*ret = ctx;
	return 0;
}

static int load_digest(const struct cred_load *l, uint8_t ret[32])
{
	wc_Sha256 sha;
	int r = wc_InitSha256(&sha);

	for (int i = 0; i < CRED_FILES && r == 0; i++) {
		const struct cred_file *f = &l->files[i];
		uint64_t len = f->is_there ? f->len_bytes : UINT64_MAX;

		r = wc_Sha256Update(&sha, (const byte *)&len, sizeof(len));
		if (r == 0 && f->is_there && f->len_bytes)
			r = wc_Sha256Update(&sha, (const byte *)f->text, (word32)f->len_bytes);
	}
	if (r == 0)
		r = wc_Sha256Final(&sha, ret);
	wc_Sha256Free(&sha);
	return r ? -EINVAL : 0;
}

static int load_fill_info(const struct cred_load *l, struct cred_info *ret)
{
	struct cred_info info = {
		.self = l->leaf.peer,
		.not_before_s = l->leaf.not_before_s,
		.authorities_count = (uint32_t)l->authorities_count,
		.has_crl = l->files[CRED_CRL].is_there,
	};

	for (size_t i = 0; i < l->authorities_count; i++) {
		static_assert(sizeof(info.authorities[0].subject) == sizeof(l->authorities[0].subject), "one size of subjects");
		memcpy(info.authorities[i].subject, l->authorities[i].subject, sizeof(info.authorities[i].subject));
		info.authorities[i].not_after_s = l->authorities[i].peer.not_after_s;
	}
	if (load_digest(l, info.digest))
		return -EINVAL;
	*ret = info;
	return 0;
}

static void load_done(struct cred_load *l)
{
	for (int i = 0; i < CRED_FILES; i++) {
		if (l->files[i].text)
			explicit_bzero(l->files[i].text, l->files[i].len_bytes);
		free(l->files[i].text);
		pem_done(&l->files[i].pem);
	}
	pem_free(&l->chain);
	free(l);
}

static int load_all(struct cred_load *l, const struct tls_name *expected, struct tls_ctx **ret_ctx)
{
	int r;

	r = load_read(l);
	if (!r)
		r = load_choose_files(l);
	if (!r)
		r = load_parse(l, l->cert_file);
	if (!r && l->key_file != l->cert_file)
		r = load_parse(l, l->key_file);
	if (!r)
		r = load_parse(l, CRED_CA);
	if (!r && l->files[CRED_CRL].is_there)
		r = load_parse(l, CRED_CRL);
	if (!r)
		r = load_take_key(l);
	if (!r)
		r = load_take_chain(l, expected);
	if (!r)
		r = load_take_authorities(l);
	if (!r && l->files[CRED_CRL].is_there)
		r = load_take_crls(l);
	return r ? r : load_make_context(l, ret_ctx);
}

int cred_load(const char *directory, const struct tls_name *expected, struct tls_ctx **ret_ctx, struct cred_info *ret_info,
              char error[CRED_ERROR_BYTES])
{
	struct cred_load *l = calloc(1, sizeof(*l));
	struct tls_ctx *ctx = NULL;
	int r;

	if (!l) {
		snprintf(error, CRED_ERROR_BYTES, "%.200s: out of memory", directory);
		return -ENOMEM;
	}
	l->directory = directory;
	l->error = error;
	r = load_all(l, expected, &ctx);
	if (!r && load_fill_info(l, ret_info)) {
		tls_ctx_unref(ctx);
		r = load_fault(l, CRED_CERT, "the files can not be hashed");
	}
	if (!r)
		*ret_ctx = ctx;
	load_done(l);
	return r;
}
