/* SPDX-License-Identifier: GPL-3.0-or-later */
/* secret.h - a token, key or certificate that was given as bytes or lies in a file that may change. Wiped when it goes.
 * Thread: one. */
#ifndef CULVERT_KUBE_SECRET_H
#define CULVERT_KUBE_SECRET_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

enum {
	SECRET_MAX_BYTES = 1 << 20, /* a bundle of authorities; tokens and keys have some thousand bytes */
	SECRET_ERROR_BYTES = 512,
};

/* What the bytes must look like to be taken. */
enum secret_kind { SECRET_TEXT, SECRET_TOKEN, SECRET_AUTHORITY, SECRET_CERTIFICATE, SECRET_KEY };

/* All zero is one that is not there. */
struct secret {
	enum secret_kind kind;
	char *path;  /* NULL: it was given as bytes */
	char *bytes; /* ends with a NUL that is not counted; NULL: not there */
	size_t len_bytes;
	struct stat seen; /* of the file when it was read */
};

/* 0, -EINVAL (not what the kind must look like) or -ENOMEM; error says why. The bytes are copied. */
int secret_set(struct secret *s, enum secret_kind kind, const void *bytes, size_t len_bytes, char error[SECRET_ERROR_BYTES]);
/* Reads the file and remembers its path. 0 or -errno. */
int secret_load(struct secret *s, enum secret_kind kind, const char *path, char error[SECRET_ERROR_BYTES]);
/* Reads the file again where it is another than the one that was read, or, forced, in any case. 1: the bytes are others now; 0: they are
 * the same, or there is no file; -errno: they are the old ones because of error. */
int secret_refresh(struct secret *s, bool is_forced, char error[SECRET_ERROR_BYTES]);
void secret_done(struct secret *s);

#endif
