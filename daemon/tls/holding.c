/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tls/holding.h"

#include "tls/generation.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_MAX_BYTES = 1 << 20 };

static_assert((int)GENERATION_ERROR_BYTES == (int)CRED_ERROR_BYTES, "what cred says goes through generation");

void holding_done(struct holding *h)
{
	if (h->key)
		explicit_bzero(h->key, strlen(h->key));
	free(h->key);
	free(h->cert);
	free(h->ca);
	*h = (struct holding){ 0 };
}

static char *file_read(const char *directory, const char *name)
{
	char path[PATH_MAX], *text = NULL;
	size_t len;
	FILE *f;

	if (snprintf(path, sizeof(path), "%s/%s", directory, name) >= (int)sizeof(path))
		return NULL;
	f = fopen(path, "re");
	if (!f)
		return NULL;
	setvbuf(f, NULL, _IONBF, 0); /* no copy of a key in a buffer that nobody wipes */
	text = malloc(FILE_MAX_BYTES);
	if (text) {
		len = fread(text, 1, FILE_MAX_BYTES - 1, f);
		text[len] = '\0';
	}
	fclose(f);
	return text;
}

/* The folder is only ours: nobody changes the files between the two readings. */
int holding_load(const char *directory, const struct tls_name *name, struct holding *ret, char error[CRED_ERROR_BYTES])
{
	struct cred_info info;
	struct tls_ctx *ctx;
	struct holding h;
	int r = cred_load(directory, name, &ctx, &info, error);

	if (r)
		return r;
	tls_ctx_unref(ctx);
	h = (struct holding){
		.cert = file_read(directory, "tls.crt"),
		.key = file_read(directory, "tls.key"),
		.ca = file_read(directory, "ca.crt"),
		.not_before_s = info.not_before_s,
		.not_after_s = info.self.not_after_s,
	};
	if (!h.cert || !h.key || !h.ca) {
		snprintf(error, CRED_ERROR_BYTES, "%.200s: tls.crt, tls.key and ca.crt are not all there", directory);
		holding_done(&h);
		return -ENOENT;
	}
	*ret = h;
	return 0;
}

struct check {
	const struct tls_name *name;
	struct cred_info info;
};

static int check_files(void *ctx, const char *folder, char error[GENERATION_ERROR_BYTES])
{
	struct check *c = ctx;
	struct tls_ctx *tls;
	int r = cred_load(folder, c->name, &tls, &c->info, error);

	if (!r)
		tls_ctx_unref(tls);
	return r;
}

int holding_store(const char *directory, const struct tls_name *name, struct holding *h, char error[CRED_ERROR_BYTES])
{
	const struct generation_file list[] = {
		{ "tls.crt", h->cert, strlen(h->cert), 0644 },
		{ "tls.key", h->key, strlen(h->key), 0600 },
		{ "ca.crt", h->ca, strlen(h->ca), 0644 },
	};
	struct check check = { .name = name };
	int r = generation_write(directory, list, sizeof(list) / sizeof(list[0]), check_files, &check, error);

	if (r)
		return r;
	h->not_before_s = check.info.not_before_s;
	h->not_after_s = check.info.self.not_after_s;
	return 0;
}
