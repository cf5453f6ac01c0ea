/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "status/http.h"

#include "base/list.h"
#include "base/log.h"
#include "net/sock.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	BACKLOG = 64,
	ACCEPT_PAUSE_MS = 1000, /* no descriptors: the queue of the listener waits so long */
	ACCEPTS_PER_EVENT = 8,
	LOG_BYTES = 256,
	ALL_PATHS_BYTES = 128,
};

#define PLAIN_TEXT "text/plain; charset=utf-8"

struct connection {
	struct http_server *server;
	struct MHD_Connection *mhd;
	struct list entry; /* in the order of their beginning */
	struct loop_timer deadline;
	struct loop_garbage garbage;
	int fd;         /* the library's to close */
	bool is_asked;  /* a request is there */
	bool is_filled; /* its answer is there */
	bool is_suspended;
	struct http_reply *reply; /* the owner fills it; NULL: not now */
	unsigned status;
	struct MHD_Response *response; /* NULL although it is filled: no memory, or handed over */
};

struct http_reply {
	struct connection *connection; /* NULL: nobody waits for it any more */
	struct loop_timer deadline;
};

struct http_server {
	struct loop *loop;
	const struct http_page *pages;
	void *ctx;
	struct MHD_Daemon *mhd;
	struct loop_source listener, poll; /* poll: the library's own epoll descriptor */
	struct loop_timer accept_pause, run;
	bool is_run_due; /* a connection goes on: also where that was said from within a run */
	struct loop_garbage garbage;
	struct list connections;
	unsigned connections_count;
};

static void server_run(struct http_server *s)
{
	unsigned long long left_ms = 0;

	s->is_run_due = false;
	(void)MHD_run(s->mhd);
	if (s->is_run_due || MHD_get_timeout(s->mhd, &left_ms) == MHD_YES)
		(void)loop_timer_set(s->loop, &s->run, instant_add_ms(loop_now(s->loop), left_ms));
	else
		loop_timer_clear(s->loop, &s->run);
}

static void on_run(struct loop_timer *t)
{
	server_run(container_of(t, struct http_server, run));
}

static void on_poll(struct loop_source *src, uint32_t events)
{
	(void)events;
	server_run(container_of(src, struct http_server, poll));
}

/* --- answers --- */

static struct MHD_Response *response_create(const char *content_type, char *body, size_t len_bytes)
{
	struct MHD_Response *r = MHD_create_response_from_buffer(len_bytes, body, MHD_RESPMEM_MUST_FREE);

	if (!r) {
		free(body);
		return NULL;
	}
	/* One answer a connection: so the connection's time bounds what a client costs. */
	if (MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, content_type) != MHD_YES ||
	    MHD_add_response_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store") != MHD_YES ||
	    MHD_add_response_header(r, MHD_HTTP_HEADER_CONNECTION, "close") != MHD_YES) {
		MHD_destroy_response(r);
		return NULL;
	}
	return r;
}

/* Takes body. */
static void connection_fill(struct connection *c, unsigned status, const char *content_type, char *body, size_t len_bytes)
{
	c->is_filled = true;
	c->status = status;
	c->response = body ? response_create(content_type, body, len_bytes) : NULL;
	if (!c->is_suspended)
		return;
	c->is_suspended = false;
	MHD_resume_connection(c->mhd);
	/* The library only marks it, and may not be run from here: who answers can be called by it. */
	c->server->is_run_due = true;
	(void)loop_timer_set(c->server->loop, &c->server->run, loop_now(c->server->loop));
}

static void connection_fill_text(struct connection *c, unsigned status, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void connection_fill_text(struct connection *c, unsigned status, const char *format, ...)
{
	char *body = NULL;
	va_list args;
	int len;

	va_start(args, format);
	len = vasprintf(&body, format, args);
	va_end(args);
	connection_fill(c, status, PLAIN_TEXT, len < 0 ? NULL : body, len < 0 ? 0 : (size_t)len);
}

/* Nobody waits for the owner's answer any more. */
static void connection_drop_reply(struct connection *c)
{
	if (!c->reply)
		return;
	loop_timer_clear(c->server->loop, &c->reply->deadline);
	c->reply->connection = NULL;
	c->reply = NULL;
}

void http_reply_done(struct http_reply *r, unsigned status, const char *content_type, char *body, size_t len_bytes)
{
	struct connection *c = r->connection;

	if (c) {
		connection_drop_reply(c);
		connection_fill(c, status, content_type, body, len_bytes);
	} else {
		free(body);
	}
	free(r);
}

static void on_reply_deadline(struct loop_timer *t)
{
	struct connection *c = container_of(t, struct http_reply, deadline)->connection;

	connection_drop_reply(c);
	connection_fill_text(c, MHD_HTTP_SERVICE_UNAVAILABLE, "no answer from the workers within %d ms\n", HTTP_ANSWER_MS);
}

/* --- requests --- */

static void connection_ask(struct connection *c, const struct http_page *page)
{
	struct http_server *s = c->server;
	struct http_reply *r = calloc(1, sizeof(*r));

	if (r) {
		*r = (struct http_reply){ .connection = c, .deadline.on_expire = on_reply_deadline };
		if (!loop_timer_set(s->loop, &r->deadline, instant_add_ms(loop_now(s->loop), HTTP_ANSWER_MS))) {
			c->reply = r;
			page->answer(s->ctx, r);
			return;
		}
	}
	free(r);
	connection_fill(c, MHD_HTTP_INTERNAL_SERVER_ERROR, PLAIN_TEXT, NULL, 0);
}

static bool has_body(struct connection *c)
{
	const char *length = MHD_lookup_connection_value(c->mhd, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);

	return (length && strcmp(length, "0") != 0) ||
	       MHD_lookup_connection_value(c->mhd, MHD_HEADER_KIND, MHD_HTTP_HEADER_TRANSFER_ENCODING);
}

static void connection_on_request(struct connection *c, const char *path, const char *method)
{
	const struct http_page *page = c->server->pages;
	char all[ALL_PATHS_BYTES] = "";
	size_t len = 0;

	while (page->path && strcmp(page->path, path) != 0)
		page++;
	if (!page->path) {
		for (page = c->server->pages; page->path && len < sizeof(all); page++)
			len += (size_t)snprintf(all + len, sizeof(all) - len, " %s", page->path);
		connection_fill_text(c, MHD_HTTP_NOT_FOUND, "there is no such page here; there are%s\n", all);
	} else if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0) {
		connection_fill_text(c, MHD_HTTP_METHOD_NOT_ALLOWED, "GET and HEAD would be right\n");
		if (c->response)
			(void)MHD_add_response_header(c->response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	} else if (has_body(c)) {
		connection_fill_text(c, MHD_HTTP_BAD_REQUEST, "a request without a body would be right\n");
	} else {
		connection_ask(c, page);
	}
}

/* The library has a whole request, or a suspended one goes on. */
static enum MHD_Result on_request(void *ctx, struct MHD_Connection *mhd, const char *path, const char *method, const char *version,
                                  const char *upload, size_t *upload_len, void **request_ctx)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	struct connection *c = info ? info->socket_context : NULL;
	struct MHD_Response *response;
	enum MHD_Result r;

	(void)ctx, (void)version, (void)upload, (void)upload_len, (void)request_ctx;
	if (!c)
		return MHD_NO;
	if (!c->is_asked) {
		c->is_asked = true;
		connection_on_request(c, path, method);
	}
	if (!c->is_filled) {
		c->is_suspended = true;
		MHD_suspend_connection(mhd);
		return MHD_YES;
	}
	response = c->response;
	c->response = NULL;
	if (!response)
		return MHD_NO; /* closes it */
	r = MHD_queue_response(mhd, c->status, response);
	MHD_destroy_response(response);
	return r;
}

/* --- connections --- */

static void connection_free(struct loop_garbage *g)
{
	free(container_of(g, struct connection, garbage));
}

/* The library closes it when it next looks. */
static void connection_cut(struct connection *c)
{
	(void)shutdown(c->fd, SHUT_RDWR);
	server_run(c->server);
}

static void on_connection_deadline(struct loop_timer *t)
{
	connection_cut(container_of(t, struct connection, deadline));
}

static void connection_begin(struct http_server *s, struct MHD_Connection *mhd, void **socket_ctx)
{
	struct connection *c = calloc(1, sizeof(*c));

	*socket_ctx = NULL;
	if (!c)
		return;
	*c = (struct connection){
		.server = s,
		.mhd = mhd,
		.deadline.on_expire = on_connection_deadline,
		.garbage.free_fn = connection_free,
		.fd = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd,
	};
	if (loop_timer_set(s->loop, &c->deadline, instant_add_ms(loop_now(s->loop), HTTP_CONNECTION_MS))) {
		free(c);
		return;
	}
	list_append(&s->connections, &c->entry);
	s->connections_count++;
	*socket_ctx = c;
}

static void connection_end(struct connection *c)
{
	struct http_server *s = c->server;

	connection_drop_reply(c);
	if (c->response)
		MHD_destroy_response(c->response);
	loop_timer_clear(s->loop, &c->deadline);
	list_remove(&c->entry);
	s->connections_count--;
	loop_free_later(s->loop, &c->garbage);
}

static void on_connection(void *ctx, struct MHD_Connection *mhd, void **socket_ctx, enum MHD_ConnectionNotificationCode what)
{
	if (what == MHD_CONNECTION_NOTIFY_STARTED)
		connection_begin(ctx, mhd, socket_ctx);
	else if (*socket_ctx)
		connection_end(*socket_ctx);
}

/* --- accepting --- */

/* Who holds a connection without asking gives way first, then who does not take an answer; never who waits for us. */
static bool server_make_room(struct http_server *s)
{
	struct connection *oldest = NULL;

	list_for_each(at, &s->connections) {
		struct connection *c = container_of(at, struct connection, entry);

		if (!c->is_asked) {
			oldest = c;
			break;
		}
		if (c->is_filled && !oldest)
			oldest = c;
	}
	if (oldest)
		connection_cut(oldest);
	return s->connections_count < HTTP_CONNECTIONS_MAX;
}

static void server_take(struct http_server *s, int fd, const struct endpoint *from)
{
	struct sockaddr_storage sa;
	socklen_t len = endpoint_to_sockaddr(from, &sa);

	if (s->connections_count >= HTTP_CONNECTIONS_MAX && !server_make_room(s))
		close(fd);
	else if (MHD_add_connection(s->mhd, fd, (struct sockaddr *)&sa, len) != MHD_YES) /* closes it where it fails */
		log_debug("an HTTP connection was not taken", L_ENDPOINT("from", from), L_ERRNO(errno));
}

static void on_accept_pause_over(struct loop_timer *t)
{
	struct http_server *s = container_of(t, struct http_server, accept_pause);

	(void)loop_add(s->loop, &s->listener, EPOLLIN);
}

static void on_listener(struct loop_source *src, uint32_t events)
{
	struct http_server *s = container_of(src, struct http_server, listener);
	struct endpoint from;

	(void)events;
	for (int i = 0; i < ACCEPTS_PER_EVENT; i++) {
		int fd = sock_accept(src->fd, &from, NULL);

		if (fd >= 0) {
			server_take(s, fd, &from);
			continue;
		}
		if (fd == -EMFILE || fd == -ENFILE || fd == -ENOBUFS || fd == -ENOMEM) {
			loop_remove(s->loop, src);
			(void)loop_timer_set(s->loop, &s->accept_pause, instant_add_ms(loop_now(s->loop), ACCEPT_PAUSE_MS));
		}
		break;
	}
	server_run(s);
}

/* --- the whole --- */

static void on_log(void *ctx, const char *format, va_list args) __attribute__((format(printf, 2, 0)));
static void on_log(void *ctx, const char *format, va_list args)
{
	char text[LOG_BYTES];

	(void)ctx;
	(void)vsnprintf(text, sizeof(text), format, args);
	text[strcspn(text, "\n")] = '\0';
	log_debug("HTTP", L_TEXT("detail", text));
}

static void server_free(struct loop_garbage *g)
{
	free(container_of(g, struct http_server, garbage));
}

/* No listener of the library's own: at the end of descriptors it would spin. Its limit of connections lies above ours, since version 0.9.75
 * leaves a lock held when it is reached. */
static int server_start(struct http_server *s)
{
	const union MHD_DaemonInfo *info;

	s->mhd = MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL,
	                          on_request, s, MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL, MHD_OPTION_CONNECTION_LIMIT,
	                          (unsigned)(2 * HTTP_CONNECTIONS_MAX), MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HTTP_REQUEST_BYTES,
	                          MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_NOTIFY_CONNECTION,
	                          on_connection, s, MHD_OPTION_END);
	if (!s->mhd)
		return errno ? -errno : -ENOMEM;
	info = MHD_get_daemon_info(s->mhd, MHD_DAEMON_INFO_EPOLL_FD);
	if (!info || info->epoll_fd < 0)
		return -ENOTSUP;
	s->poll = (struct loop_source){ .fd = info->epoll_fd, .on_event = on_poll };
	return loop_add(s->loop, &s->poll, EPOLLIN);
}

int http_server_create(struct loop *loop, const struct endpoint *at, const struct http_page *pages, void *ctx, struct http_server **ret)
{
	struct http_server *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	*s = (struct http_server){
		.loop = loop,
		.pages = pages,
		.ctx = ctx,
		.listener = { .fd = sock_listen(at, BACKLOG), .on_event = on_listener },
		.accept_pause.on_expire = on_accept_pause_over,
		.run.on_expire = on_run,
		.garbage.free_fn = server_free,
	};
	list_init(&s->connections);
	r = s->listener.fd < 0 ? s->listener.fd : server_start(s);
	if (!r)
		r = loop_add(loop, &s->listener, EPOLLIN);
	if (r) {
		http_server_destroy(s);
		return r;
	}
	*ret = s;
	return 0;
}

struct endpoint http_server_endpoint(const struct http_server *s)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	struct endpoint e = { .port = 0 };

	if (!getsockname(s->listener.fd, (struct sockaddr *)&sa, &len))
		(void)endpoint_from_sockaddr((struct sockaddr *)&sa, len, &e);
	return e;
}

void http_server_destroy(struct http_server *s)
{
	if (!s)
		return;
	loop_timer_clear(s->loop, &s->accept_pause);
	if (s->listener.fd >= 0)
		loop_close(s->loop, &s->listener);
	/* The library may not be stopped while a connection is suspended. */
	list_for_each(at, &s->connections) {
		struct connection *c = container_of(at, struct connection, entry);

		if (c->is_suspended) {
			connection_drop_reply(c);
			connection_fill_text(c, MHD_HTTP_SERVICE_UNAVAILABLE, "the daemon is ending\n");
		}
	}
	if (s->mhd) {
		loop_remove(s->loop, &s->poll);
		MHD_stop_daemon(s->mhd);
	}
	loop_timer_clear(s->loop, &s->run);
	loop_free_later(s->loop, &s->garbage);
}
