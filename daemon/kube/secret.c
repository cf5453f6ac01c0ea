/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "kube/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct {
	const char *source, *what, *mark;
} kinds[] = {
	[SECRET_TEXT] = { "the text", "", "" },
	[SECRET_TOKEN] = { "the token", "", "" },
	[SECRET_AUTHORITY] = { "certificate-authority-data", "certificate", "-----BEGIN CERTIFICATE-----" },
	[SECRET_CERTIFICATE] = { "client-certificate-data", "certificate", "-----BEGIN CERTIFICATE-----" },
	[SECRET_KEY] = { "client-key-data", "private key", "PRIVATE KEY-----" },
};

static void wipe(char *bytes, size_t len_bytes)
{
	if (bytes)
		explicit_bzero(bytes, len_bytes);
	free(bytes);
}

static int no_memory(char error[SECRET_ERROR_BYTES])
{
	(void)snprintf(error, SECRET_ERROR_BYTES, "out of memory");
	return -ENOMEM;
}

/* A token becomes a header: nothing that could end one may stand in it. The line end of its file goes. */
static int check_token(const char *source, char *token, size_t *len, char error[SECRET_ERROR_BYTES])
{
	while (*len > 0 && strchr(" \t\r\n", token[*len - 1]))
		token[--*len] = '\0';
	if (*len == 0) {
		(void)snprintf(error, SECRET_ERROR_BYTES, "%s: the token is empty", source);
		return -EINVAL;
	}
	for (size_t i = 0; i < *len; i++) {
		if (token[i] <= ' ' || token[i] > '~') {
			(void)snprintf(error, SECRET_ERROR_BYTES, "%s: byte %zu is no character of a token", source, i + 1);
			return -EINVAL;
		}
	}
	return 0;
}

static int check(enum secret_kind kind, const char *path, char *bytes, size_t *len, char error[SECRET_ERROR_BYTES])
{
	const char *source = path ? path : kinds[kind].source;

	if (kind == SECRET_TEXT)
		return 0;
	if (kind == SECRET_TOKEN)
		return check_token(source, bytes, len, error);
	if (strlen(bytes) == *len && strstr(bytes, kinds[kind].mark))
		return 0;
	(void)snprintf(error, SECRET_ERROR_BYTES, "%s: no %s in it; %s would be right", source, kinds[kind].what, kinds[kind].mark);
	return -EINVAL;
}

int secret_set(struct secret *s, enum secret_kind kind, const void *bytes, size_t len_bytes, char error[SECRET_ERROR_BYTES])
{
	char *copy = malloc(len_bytes + 1);
	int rc;

	if (!copy)
		return no_memory(error);
	memcpy(copy, bytes, len_bytes);
	copy[len_bytes] = '\0';
	rc = check(kind, NULL, copy, &len_bytes, error);
	if (rc < 0) {
		wipe(copy, len_bytes);
		return rc;
	}
	secret_done(s);
	*s = (struct secret){ .kind = kind, .bytes = copy, .len_bytes = len_bytes };
	return 0;
}

/* The whole file, as long as it says it is and no longer. */
static int read_file(int fd, const char *path, struct stat *ret_st, char **ret_bytes, size_t *ret_len, char error[SECRET_ERROR_BYTES])
{
	size_t len = 0, size;
	char *bytes;

	if (fstat(fd, ret_st) < 0 || !S_ISREG(ret_st->st_mode)) {
		(void)snprintf(error, SECRET_ERROR_BYTES, "%s: is not a file", path);
		return -EINVAL;
	}
	if (ret_st->st_size > SECRET_MAX_BYTES) {
		(void)snprintf(error, SECRET_ERROR_BYTES, "%s: %lld bytes; at most %d are read", path, (long long)ret_st->st_size,
		               SECRET_MAX_BYTES);
		return -EFBIG;
	}
	size = (size_t)ret_st->st_size;
	bytes = malloc(size + 1);
	if (!bytes)
		return no_memory(error);
	while (len < size) {
		ssize_t n = read(fd, bytes + len, size - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			int rc = -errno;

			(void)snprintf(error, SECRET_ERROR_BYTES, "%s: can not be read: %s", path, strerror(-rc));
			wipe(bytes, len);
			return rc;
		}
		if (n == 0)
			break;
		len += (size_t)n;
	}
	bytes[len] = '\0';
	*ret_bytes = bytes;
	*ret_len = len;
	return 0;
}

/* 1: other bytes than before. */
static int read_again(struct secret *s, const char *path, char error[SECRET_ERROR_BYTES])
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), rc;
	struct stat st = { 0 };
	char *bytes = NULL;
	size_t len = 0;

	if (fd < 0) {
		rc = -errno;
		(void)snprintf(error, SECRET_ERROR_BYTES, "%s: can not be opened: %s", path, strerror(-rc));
		return rc;
	}
	rc = read_file(fd, path, &st, &bytes, &len, error);
	(void)close(fd);
	if (rc == 0)
		rc = check(s->kind, path, bytes, &len, error);
	if (rc < 0) {
		wipe(bytes, len);
		return rc;
	}
	s->seen = st;
	if (s->bytes && len == s->len_bytes && memcmp(bytes, s->bytes, len) == 0) {
		wipe(bytes, len);
		return 0;
	}
	wipe(s->bytes, s->len_bytes);
	s->bytes = bytes;
	s->len_bytes = len;
	return 1;
}

int secret_load(struct secret *s, enum secret_kind kind, const char *path, char error[SECRET_ERROR_BYTES])
{
	struct secret loaded = { .kind = kind, .path = strdup(path) };
	int rc;

	if (!loaded.path)
		return no_memory(error);
	rc = read_again(&loaded, path, error);
	if (rc < 0) {
		secret_done(&loaded);
		return rc;
	}
	secret_done(s);
	*s = loaded;
	return 0;
}

static bool is_same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
	       a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

int secret_refresh(struct secret *s, bool is_forced, char error[SECRET_ERROR_BYTES])
{
	struct stat st;

	if (!s->path)
		return 0;
	/* A file that is not there for a moment is about to be replaced: opening it says so. */
	if (!is_forced && stat(s->path, &st) == 0 && is_same_file(&st, &s->seen))
		return 0;
	return read_again(s, s->path, error);
}

void secret_done(struct secret *s)
{
	wipe(s->bytes, s->len_bytes);
	free(s->path);
	*s = (struct secret){ 0 };
}
