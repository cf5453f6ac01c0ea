/* SPDX-License-Identifier: GPL-3.0-or-later */
/* api.h - a client that the test plays: what is asked for waits until the test answers it. For one test program. */
#ifndef CULVERT_TESTS_UNIT_KUBE_API_H
#define CULVERT_TESTS_UNIT_KUBE_API_H

#include "encode.h"
#include "kube/source.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { API_CALLS = 8 };

struct kube_client {
	int nothing;
};

struct kube_call {
	struct kube_handler handler;
	void *ctx;
	char method[8], path[512], body[2048];
	bool is_running;
};

static struct kube_client api_client;
static struct kube_call api_calls[API_CALLS];

int kube_send(struct kube_client *c, const struct kube_request *r, const struct kube_handler *h, void *ctx, struct kube_call **ret)
{
	int i = 0;

	(void)c;
	while (i < API_CALLS && api_calls[i].is_running)
		i++;
	if (i == API_CALLS)
		return -ENOBUFS;
	api_calls[i] = (struct kube_call){ .handler = *h, .ctx = ctx, .is_running = true };
	(void)snprintf(api_calls[i].method, sizeof(api_calls[i].method), "%s", r->method);
	(void)snprintf(api_calls[i].path, sizeof(api_calls[i].path), "%s", r->path);
	(void)snprintf(api_calls[i].body, sizeof(api_calls[i].body), "%.*s", (int)r->body_bytes, r->body ? (const char *)r->body : "");
	*ret = &api_calls[i];
	return 0;
}

void kube_cancel(struct kube_call *c)
{
	if (c)
		c->is_running = false;
}

/* NULL: nobody asks for it. */
static struct kube_call *api_find(const char *method, const char *begin)
{
	for (int i = 0; i < API_CALLS; i++) {
		struct kube_call *c = &api_calls[i];

		if (c->is_running && strcmp(c->method, method) == 0 && strncmp(c->path, begin, strlen(begin)) == 0)
			return c;
	}
	return NULL;
}

static void api_end(struct kube_call *call, const struct kube_answer *answer)
{
	struct kube_call ended = *call;

	call->is_running = false;
	ended.handler.on_done(ended.ctx, answer);
}

/* body is emptied. */
static void api_answer(struct kube_call *call, unsigned status, struct bytes *body, const char *text)
{
	const struct kube_answer answer = {
		.status = status, .body = body->data ? (const void *)body->data : "", .body_bytes = body->len, .text = text
	};

	api_end(call, &answer);
	bytes_done(body);
}

static void api_break(struct kube_call *call, int error, const char *text)
{
	const struct kube_answer answer = { .error = error, .body = "", .text = text };

	api_end(call, &answer);
}

/* A Status in its envelope, as the API server says no. */
static void api_refuse(struct kube_call *call, unsigned status, const char *reason, const char *text)
{
	struct bytes b = { 0 }, s = { 0 };

	put_status(&s, status, reason, text);
	put_envelope(&b, "v1", "Status", &s);
	api_answer(call, status, &b, text);
}

#endif
