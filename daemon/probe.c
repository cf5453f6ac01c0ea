/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "probe.h"

#include "base/log.h"
#include "report.h"
#include "status/http.h"
#include "status/metrics.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	WAITING_MAX = 2 * HTTP_CONNECTIONS_MAX, /* clients that have gone count until the workers have answered */
	/* A text that is younger is given again: whoever may ask can not make the workers count their streams all the time. */
	FRESH_MS = 500,
	HTTP_OK = 200,
	HTTP_INTERNAL = 500,
	HTTP_UNAVAILABLE = 503,
};

#define PLAIN_TEXT "text/plain; charset=utf-8"

/* Who waits for one and the same answer of the workers. */
struct crowd {
	struct http_reply *replies[WAITING_MAX];
	size_t count;
};

struct probe {
	struct daemon *daemon;
	struct http_server *server;
	bool is_stopped; /* freed when the workers owe no answer any more */
	struct crowd metrics, livez;
	char *text; /* the last metrics */
	size_t text_len;
	struct instant text_at;
};

static void reply(struct http_reply *r, unsigned status, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void reply(struct http_reply *r, unsigned status, const char *format, ...)
{
	char *body = NULL;
	va_list args;
	int len;

	va_start(args, format);
	len = vasprintf(&body, format, args);
	va_end(args);
	http_reply_done(r, status, PLAIN_TEXT, len < 0 ? NULL : body, len < 0 ? 0 : (size_t)len);
}

/* true: r is the first, and the workers must be asked. */
static bool crowd_join(struct crowd *c, struct http_reply *r)
{
	if (c->count == WAITING_MAX) {
		reply(r, HTTP_UNAVAILABLE, "the workers do not answer\n");
		return false;
	}
	c->replies[c->count++] = r;
	return c->count == 1;
}

static struct http_reply *crowd_leave(struct crowd *c)
{
	return c->count ? c->replies[--c->count] : NULL;
}

static void probe_free_last(struct probe *p)
{
	if (!p->is_stopped || p->metrics.count || p->livez.count)
		return;
	free(p->text);
	free(p);
}

/* --- /metrics --- */

static void reply_metrics(const struct probe *p, struct http_reply *r)
{
	char *copy = malloc(p->text_len + 1);

	if (copy)
		memcpy(copy, p->text, p->text_len);
	http_reply_done(r, HTTP_OK, METRICS_CONTENT_TYPE, copy, p->text_len);
}

static int make_text(struct probe *p, const struct snapshot *s)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return -ENOMEM;
	metrics_print(s, out);
	if (fclose(out)) {
		free(text);
		return -ENOMEM;
	}
	free(p->text);
	p->text = text;
	p->text_len = len;
	p->text_at = loop_now(p->daemon->loop);
	return 0;
}

static void on_report(void *ctx, const struct snapshot *s, const char *code, const char *text)
{
	struct probe *p = ctx;
	bool is_good = s && !make_text(p, s);
	struct http_reply *r;

	(void)code;
	while ((r = crowd_leave(&p->metrics))) {
		if (is_good)
			reply_metrics(p, r);
		else
			reply(r, HTTP_INTERNAL, "%s\n", text ? text : "out of memory");
	}
	probe_free_last(p);
}

static void on_metrics(void *ctx, struct http_reply *r)
{
	static const struct status_query query = { .what = STATUS_STATUS, .limit = 1 };
	struct probe *p = ctx;

	if (p->text && instant_elapsed_ns(p->text_at, loop_now(p->daemon->loop)) < FRESH_MS * NS_PER_MS)
		reply_metrics(p, r);
	else if (crowd_join(&p->metrics, r))
		report_collect(p->daemon, &query, on_report, p);
}

/* --- /livez --- */

static void nothing_in_worker(struct pool *pool, void *part, void *ctx)
{
	(void)pool, (void)part, (void)ctx;
}

static void on_workers_answered(void *ctx, void *const *parts, uint32_t parts_count)
{
	struct probe *p = ctx;
	struct http_reply *r;

	(void)parts, (void)parts_count;
	while ((r = crowd_leave(&p->livez)))
		reply(r, HTTP_OK, "the main loop and all workers answer\n");
	probe_free_last(p);
}

static void on_livez(void *ctx, struct http_reply *r)
{
	struct probe *p = ctx;

	if (crowd_join(&p->livez, r) && engine_ask(p->daemon->engine, 1, nothing_in_worker, on_workers_answered, p))
		reply(crowd_leave(&p->livez), HTTP_INTERNAL, "out of memory\n");
}

/* --- /readyz --- */

static void on_readyz(void *ctx, struct http_reply *r)
{
	const struct probe *p = ctx;
	char reason[EDGE_ERROR_BYTES] = "";

	if (daemon_is_ready(p->daemon, reason))
		reply(r, HTTP_OK, "ready\n");
	else
		reply(r, HTTP_UNAVAILABLE, "not ready: %s\n", reason);
}

static const struct http_page pages[] = {
	{ "/metrics", on_metrics },
	{ "/livez", on_livez },
	{ "/readyz", on_readyz },
	{ NULL, NULL },
};

int probe_start(struct daemon *d)
{
	const struct endpoint *at = &d->config.metrics.listen.endpoint;
	struct probe *p;
	int r = -ENOMEM;

	if (!d->config.metrics.listen.is_on)
		return 0;
	p = calloc(1, sizeof(*p));
	if (p) {
		p->daemon = d;
		r = http_server_create(d->loop, at, pages, p, &p->server);
	}
	if (r) {
		log_error("metrics.listen can not be listened on: another address, or \"\" for off, would be right",
		          L_ENDPOINT("listen", at), L_ERRNO(r));
		free(p);
		return r;
	}
	d->probe = p;
	return 0;
}

void probe_stop(struct daemon *d)
{
	struct probe *p = d->probe;

	if (!p)
		return;
	d->probe = NULL;
	http_server_destroy(p->server);
	p->is_stopped = true;
	probe_free_last(p);
}
