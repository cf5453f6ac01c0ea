/* SPDX-License-Identifier: GPL-3.0-or-later */
/* easy.h - one request as libcurl is told it, and how libcurl says that it ended. Knows nothing of loops and callbacks.
 * Thread: one. */
#ifndef CULVERT_KUBE_EASY_H
#define CULVERT_KUBE_EASY_H

#include "kube/kubeconfig.h"

#include <curl/curl.h>
#include <stddef.h>
#include <stdint.h>

struct easy_request {
	const char *method, *path, *accept, *user_agent;
	const char *content_type; /* NULL: none */
	const void *body;         /* NULL: none; must outlive the transfer */
	size_t body_bytes;
	uint32_t timeout_ms; /* 0: no limit */
};

/* All zero is one that is not there. */
struct easy {
	CURL *handle;
	struct curl_slist *headers, *connect_to;
	char error[CURL_ERROR_SIZE]; /* libcurl's own words */
};

/* e must stay where it is until easy_done. 0 or -ENOMEM. */
int easy_init(struct easy *e, const struct easy_request *r, const struct kubeconfig *k);
/* The handle must be in no multi handle any more. */
void easy_done(struct easy *e);

unsigned easy_status(const struct easy *e); /* HTTP's; 0: no answer yet */
uint32_t easy_retry_after_ms(const struct easy *e);

/* 0, or the -errno nearest to result. */
int easy_error(const struct easy *e, CURLcode result);
/* The same in words, for people; names the server. */
void easy_say(const struct easy *e, CURLcode result, const char *server, char *text, size_t text_bytes);

#endif
