/* SPDX-License-Identifier: GPL-3.0-or-later */
/* http.h - a small HTTP server for pages that somebody else fills: GET and HEAD of a few paths, nothing else.
 * libmicrohttpd speaks the protocol, driven by our loop. Each connection gets one answer and is closed, and is closed anyway when its time is
 * over; where too many are there, the oldest that has not asked yet gives way. Thread: that of the loop, for everything here. */
#ifndef CULVERT_STATUS_HTTP_H
#define CULVERT_STATUS_HTTP_H

#include "base/addr.h"
#include "net/loop.h"

#include <stddef.h>

enum {
	HTTP_CONNECTIONS_MAX = 64,
	HTTP_REQUEST_BYTES = 16 * 1024, /* line and headers; a scraper behind an authorising proxy sends some kilobytes */
	HTTP_CONNECTION_MS = 10000,     /* from accept to the last byte of the answer: the limit of time that a scrape usually has */
	HTTP_ANSWER_MS = 5000,          /* for the owner to fill a page */
};

struct http_server;
struct http_reply;

struct http_page {
	const char *path; /* "/metrics"; NULL ends the table */
	/* r may be completed before it returns, and must be once, by http_reply_done: also after http_server_destroy. */
	void (*answer)(void *ctx, struct http_reply *r);
};

/* Answers, and frees r. body: text, taken (from malloc); NULL: there was no memory for it, answered as that. */
void http_reply_done(struct http_reply *r, unsigned status, const char *content_type, char *body, size_t len_bytes);

/* Listens at once, and answers when the loop runs. pages and ctx are borrowed for its life. 0 or -errno. */
int http_server_create(struct loop *loop, const struct endpoint *at, const struct http_page *pages, void *ctx, struct http_server **ret);
/* Where it listens: the port that the kernel picked, where 0 was asked for. */
struct endpoint http_server_endpoint(const struct http_server *s);
/* Closes all. NULL is welcome. */
void http_server_destroy(struct http_server *s);

#endif
