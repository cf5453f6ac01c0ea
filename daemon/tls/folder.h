/* SPDX-License-Identifier: GPL-3.0-or-later */
/* folder.h - the folder of an authority: read as a whole, and files that appear in it whole or not at all.
 * For this folder only. Thread: any, one at a time on one folder. */
#ifndef CULVERT_TLS_FOLDER_H
#define CULVERT_TLS_FOLDER_H

#include "tls/ca.h"
#include "tls/cert.h"

#include <wolfssl/wolfcrypt/settings.h>
#include <wolfssl/wolfcrypt/ecc.h>

#include <sys/stat.h>

/* An authority that was read: its key, and its certificate. */
struct ca {
	ecc_key key;
	bool has_key;
	uint8_t *der;
	size_t der_len_bytes;
	struct cert cert;
};

/* Writes a sentence to error; returns r. */
__attribute__((format(printf, 3, 4))) int ca_error(char error[CA_ERROR_BYTES], int r, const char *format, ...);

/* Opens dir; make: makes it (mode 0700) where it is missing. 0, or -errno with error set. */
int ca_dir_open(const char *dir, bool make, int *ret_fd, char error[CA_ERROR_BYTES]);
/* Writes a file under another name, syncs and renames it. is_new: an older file of that name stays and the answer is -EEXIST. 0, or -errno
 * with error set. */
int ca_file_write(int dir_fd, const char *dir, const char *name, mode_t mode, const struct pem_text *text, bool is_new,
                  char error[CA_ERROR_BYTES]);

/* Reads ca.crt and ca.key of an authority that has not expired. 0 and *ret to be freed with ca_done; or -errno, -EINVAL with error set. */
int ca_load(const char *dir, struct ca *ret, char error[CA_ERROR_BYTES]);
void ca_done(struct ca *ca);

/* The key of a PRIVATE KEY or EC PRIVATE KEY block. 0, -EINVAL or -EIO. */
int ca_take_key(struct ca *ca, const struct pem_block *block);
/* Whether key belongs to the authority's certificate: by the key identifier, which is the hash of the public key in what we make. */
bool ca_key_fits(struct ca *ca);

#endif
