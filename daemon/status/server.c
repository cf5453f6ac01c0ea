/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "status/server.h"

#include "base/delimited.h"
#include "base/list.h"
#include "base/log.h"
#include "status/message.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
	BACKLOG = 16,
	READ_BYTES = 4096,
	ACCEPT_PAUSE_MS = 1000, /* no descriptors: the queue of the listener waits so long */
};

enum client_state {
	CLIENT_READING,    /* a request is not whole yet */
	CLIENT_COLLECTING, /* the owner has it */
	CLIENT_WRITING,    /* the answer is not taken yet */
};

struct status_reply {
	struct client *client; /* NULL: nobody waits for it any more */
	struct status_query query;
};

struct client {
	struct loop_source source;
	struct loop_timer deadline;
	struct loop_garbage garbage;
	struct list entry;
	struct status_server *server;
	enum client_state state;
	bool is_last; /* closed after the answer in hand */
	struct status_reply *reply;
	uint8_t *rx, *tx;
	size_t rx_len, rx_cap, tx_len, tx_sent;
};

struct status_server {
	struct loop_source listener;
	struct loop_timer accept_pause;
	struct loop_garbage garbage;
	struct loop *loop;
	const struct status_ops *ops;
	void *ctx;
	struct list clients;
	unsigned clients_count;
	dev_t dev;
	ino_t ino;
	char path[sizeof((struct sockaddr_un){ 0 }.sun_path)];
};

/* --- clients --- */

static void client_free(struct loop_garbage *g)
{
	struct client *c = container_of(g, struct client, garbage);

	free(c->rx);
	free(c->tx);
	free(c);
}

static void client_close(struct client *c)
{
	struct loop *loop = c->server->loop;

	if (c->reply)
		c->reply->client = NULL;
	c->reply = NULL;
	loop_timer_clear(loop, &c->deadline);
	loop_close(loop, &c->source);
	list_remove(&c->entry);
	c->server->clients_count--;
	loop_free_later(loop, &c->garbage);
}

/* One phase at a time: each has the whole of its deadline, and watches only what moves it. A client that has gone shows as EPOLLHUP in all of them. */
static bool client_enter(struct client *c, enum client_state state)
{
	static const uint32_t interest[] = { [CLIENT_READING] = EPOLLIN, [CLIENT_COLLECTING] = 0, [CLIENT_WRITING] = EPOLLOUT };
	struct loop *loop = c->server->loop;

	c->state = state;
	if (loop_modify(loop, &c->source, interest[state]) ||
	    loop_timer_set(loop, &c->deadline, instant_add_ms(loop_now(loop), STATUS_DEADLINE_MS))) {
		client_close(c);
		return false;
	}
	return true;
}

static void client_answer(struct client *c, uint8_t *tx, size_t tx_len)
{
	c->tx = tx;
	c->tx_len = tx_len;
	c->tx_sent = 0;
	(void)client_enter(c, CLIENT_WRITING);
}

/* The last thing that this client hears. */
static void client_refuse(struct client *c, const char *code, const char *text)
{
	uint8_t *tx;
	size_t tx_len;

	log_debug("status request refused", L_TEXT("code", code), L_TEXT("detail", text));
	c->is_last = true;
	if (status_message_put_error(code, text, &tx, &tx_len))
		client_close(c);
	else
		client_answer(c, tx, tx_len);
}

/* Hands a request to the owner, who may complete it before it returns. */
static void client_collect(struct client *c, const struct status_query *q)
{
	struct status_server *s = c->server;
	struct status_reply *r = calloc(1, sizeof(*r));

	if (!r) {
		client_refuse(c, "internal", "the daemon has no memory for the request");
		return;
	}
	r->client = c;
	r->query = *q;
	c->reply = r;
	if (client_enter(c, CLIENT_COLLECTING))
		s->ops->collect(s->ctx, &r->query, r);
	else
		free(r);
}

/* Takes one request out of what was read; with none whole there it stays CLIENT_READING. */
static void client_parse(struct client *c)
{
	char error[STATUS_ERROR_BYTES];
	struct status_query q;
	uint32_t body;
	int head, r;

	head = delimited_get(c->rx, c->rx_len, &body);
	if (head < 0 || (head > 0 && body > STATUS_REQUEST_MAX)) {
		snprintf(error, sizeof(error), "a request begins with its length as a varint, at most %d", STATUS_REQUEST_MAX);
		client_refuse(c, "bad_request", error);
		return;
	}
	if (!head || c->rx_len - (size_t)head < body)
		return;
	r = status_message_get(c->rx + head, body, &q, error);
	c->rx_len -= (size_t)head + body;
	memmove(c->rx, c->rx + head + body, c->rx_len);
	if (r == -EBADMSG)
		client_refuse(c, "bad_request", error);
	else if (r)
		client_refuse(c, "internal", "the daemon has no memory for the request");
	else
		client_collect(c, &q);
}

static bool client_grow(struct client *c)
{
	size_t cap = c->rx_cap ? c->rx_cap * 2 : READ_BYTES;
	uint8_t *rx;

	if (c->rx_len < c->rx_cap)
		return true;
	/* A whole request is taken out before more is read, so this is enough. */
	if (cap > DELIMITED_HEAD_MAX + STATUS_REQUEST_MAX)
		cap = DELIMITED_HEAD_MAX + STATUS_REQUEST_MAX;
	rx = realloc(c->rx, cap);
	if (!rx)
		return false;
	c->rx = rx;
	c->rx_cap = cap;
	return true;
}

static void client_read(struct client *c)
{
	ssize_t n;

	if (!client_grow(c)) {
		client_refuse(c, "internal", "the daemon has no memory for the request");
		return;
	}
	n = recv(c->source.fd, c->rx + c->rx_len, c->rx_cap - c->rx_len, 0);
	if (n < 0) {
		if (errno != EAGAIN && errno != EINTR)
			client_close(c);
		return;
	}
	if (n == 0) {
		/* It may have closed one direction only, and still listen. */
		if (c->rx_len)
			client_refuse(c, "bad_request", "the request ends before its announced length");
		else
			client_close(c);
		return;
	}
	c->rx_len += (size_t)n;
	client_parse(c);
}

static void client_write(struct client *c)
{
	ssize_t n = send(c->source.fd, c->tx + c->tx_sent, c->tx_len - c->tx_sent, MSG_NOSIGNAL);

	if (n < 0) {
		if (errno != EAGAIN && errno != EINTR)
			client_close(c);
		return;
	}
	c->tx_sent += (size_t)n;
	if (c->tx_sent < c->tx_len)
		return;
	if (c->is_last) {
		client_close(c);
		return;
	}
	free(c->tx);
	c->tx = NULL;
	if (client_enter(c, CLIENT_READING))
		client_parse(c); /* another request may lie there already */
}

static void client_on_event(struct loop_source *src, uint32_t events)
{
	struct client *c = container_of(src, struct client, source);

	if (c->state == CLIENT_READING && events & EPOLLIN)
		client_read(c);
	else if (events & (EPOLLHUP | EPOLLERR))
		client_close(c);
	else if (c->state == CLIENT_WRITING && events & EPOLLOUT)
		client_write(c);
}

static void client_on_deadline(struct loop_timer *t)
{
	struct client *c = container_of(t, struct client, deadline);

	if (c->state != CLIENT_COLLECTING) {
		client_close(c);
		return;
	}
	c->reply->client = NULL;
	c->reply = NULL;
	client_refuse(c, "timeout", "the workers did not answer in time");
}

void status_reply_done(struct status_reply *r, const struct snapshot *s)
{
	struct client *c = r->client;
	uint8_t *tx;
	size_t tx_len;
	int rc;

	if (c) {
		c->reply = NULL;
		rc = status_message_put(&r->query, s, &tx, &tx_len);
		if (rc)
			client_refuse(c, "internal", "the daemon has no memory for the answer");
		else
			client_answer(c, tx, tx_len);
	}
	free(r);
}

void status_reply_fail(struct status_reply *r, const char *code, const char *text)
{
	struct client *c = r->client;

	if (c) {
		c->reply = NULL;
		client_refuse(c, code, text);
	}
	free(r);
}

/* --- the listener --- */

/* One client more than there may be: it is told so, as far as its socket takes it, and closed. */
static void turn_away(int fd)
{
	uint8_t *tx;
	size_t tx_len;

	if (!status_message_put_error("busy", "too many clients of the status socket at once: try again", &tx, &tx_len)) {
		(void)send(fd, tx, tx_len, MSG_NOSIGNAL);
		free(tx);
	}
	close(fd);
}

static void client_create(struct status_server *s, int fd)
{
	struct client *c = calloc(1, sizeof(*c));

	if (!c) {
		close(fd);
		return;
	}
	c->source = (struct loop_source){ .fd = fd, .on_event = client_on_event };
	c->deadline.on_expire = client_on_deadline;
	c->garbage.free_fn = client_free;
	c->server = s;
	list_append(&s->clients, &c->entry);
	s->clients_count++;
	if (loop_add(s->loop, &c->source, EPOLLIN))
		client_close(c);
	else
		(void)client_enter(c, CLIENT_READING);
}

static void server_on_event(struct loop_source *src, uint32_t events)
{
	struct status_server *s = container_of(src, struct status_server, listener);

	(void)events;
	for (int i = 0; i < BACKLOG; i++) {
		int fd = accept4(s->listener.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			if (s->clients_count < STATUS_CLIENTS_MAX)
				client_create(s, fd);
			else
				turn_away(fd);
			continue;
		}
		if (errno == EINTR || errno == ECONNABORTED)
			continue;
		if (errno != EAGAIN && loop_timer_set(s->loop, &s->accept_pause, instant_add_ms(loop_now(s->loop), ACCEPT_PAUSE_MS)) == 0) {
			log_warn("status socket: accepting pauses", L_ERRNO(errno));
			(void)loop_modify(s->loop, &s->listener, 0);
		}
		return;
	}
}

static void server_on_pause_over(struct loop_timer *t)
{
	struct status_server *s = container_of(t, struct status_server, accept_pause);

	(void)loop_modify(s->loop, &s->listener, EPOLLIN);
}

/* 0: path is free, or has a socket that nobody answers on. */
static int check_path(const char *path, const struct sockaddr_un *sa, char error[STATUS_ERROR_BYTES])
{
	struct stat st;
	int fd, r;

	if (lstat(path, &st) < 0) {
		if (errno == ENOENT)
			return 0;
		r = -errno;
		snprintf(error, STATUS_ERROR_BYTES, "%s: %s", path, strerror(-r));
		return r;
	}
	if (!S_ISSOCK(st.st_mode)) {
		snprintf(error, STATUS_ERROR_BYTES, "%s is there and no socket: move it away", path);
		return -EEXIST;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	r = connect(fd, (const struct sockaddr *)sa, sizeof(*sa)) < 0 ? errno : 0;
	close(fd);
	if (r == ECONNREFUSED || r == ENOENT)
		return 0;
	snprintf(error, STATUS_ERROR_BYTES, "%s: another daemon answers there", path);
	return -EADDRINUSE;
}

/* The socket appears at path whole: with its mode, and listening. Its address for a moment is path with another last letter, which fits where path fits. */
static int listen_at(struct status_server *s, int fd, char error[STATUS_ERROR_BYTES])
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX }, final;
	char *last = sa.sun_path + strlen(s->path) - 1;
	struct stat st;
	int r;

	memcpy(sa.sun_path, s->path, sizeof(s->path));
	final = sa;
	r = check_path(s->path, &final, error);
	if (r)
		return r;
	*last = *last == '~' ? '_' : '~';
	if (unlink(sa.sun_path) < 0 && errno != ENOENT)
		goto fail;
	if (bind(fd, (const struct sockaddr *)&sa, sizeof(sa)) < 0)
		goto fail;
	if (chmod(sa.sun_path, 0660) < 0 || listen(fd, BACKLOG) < 0 || stat(sa.sun_path, &st) < 0 || rename(sa.sun_path, s->path) < 0) {
		r = errno;
		(void)unlink(sa.sun_path);
		errno = r;
		goto fail;
	}
	s->dev = st.st_dev;
	s->ino = st.st_ino;
	return 0;
fail:
	r = -errno;
	snprintf(error, STATUS_ERROR_BYTES, "%s: %s", s->path, strerror(-r));
	return r;
}

int status_server_create(struct loop *loop, const char *path, const struct status_ops *ops, void *ctx, struct status_server **ret,
                         char error[STATUS_ERROR_BYTES])
{
	struct status_server *s = NULL;
	int fd = -1, r = -ENOMEM;

	snprintf(error, STATUS_ERROR_BYTES, "%.200s: no memory", path);
	if (!path[0] || strlen(path) >= sizeof(s->path)) {
		snprintf(error, STATUS_ERROR_BYTES, "%.150s: a socket's path has 1 to %zu bytes", path, sizeof(s->path) - 1);
		return -ENAMETOOLONG;
	}
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	strcpy(s->path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		r = -errno;
		snprintf(error, STATUS_ERROR_BYTES, "%s: %s", path, strerror(-r));
		goto out;
	}
	r = listen_at(s, fd, error);
	if (r)
		goto out;
	s->loop = loop;
	s->ops = ops;
	s->ctx = ctx;
	s->listener = (struct loop_source){ .fd = fd, .on_event = server_on_event };
	s->accept_pause.on_expire = server_on_pause_over;
	list_init(&s->clients);
	r = loop_add(loop, &s->listener, EPOLLIN);
	if (r) {
		(void)unlink(path);
		snprintf(error, STATUS_ERROR_BYTES, "%s: %s", path, strerror(-r));
		goto out;
	}
	*ret = s;
	return 0;
out:
	if (fd >= 0)
		close(fd);
	free(s);
	return r;
}

static void server_free(struct loop_garbage *g)
{
	free(container_of(g, struct status_server, garbage));
}

void status_server_destroy(struct status_server *s)
{
	struct stat st;

	if (!s)
		return;
	list_for_each_safe(at, &s->clients)
		client_close(container_of(at, struct client, entry));
	loop_timer_clear(s->loop, &s->accept_pause);
	loop_close(s->loop, &s->listener);
	/* Another daemon may have taken the place. */
	if (lstat(s->path, &st) == 0 && st.st_dev == s->dev && st.st_ino == s->ino)
		(void)unlink(s->path);
	/* A batch in hand may have an event of the listener. */
	s->garbage.free_fn = server_free;
	loop_free_later(s->loop, &s->garbage);
}
