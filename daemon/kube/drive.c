/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "kube/drive.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	/* A connection whose other end is gone is found after a minute: probes after 30 s of silence, and nothing may stay unacknowledged for
	 * longer than that. */
	KEEPALIVE_IDLE_S = 30,
	KEEPALIVE_INTERVAL_S = 10,
	USER_TIMEOUT_MS = 30000,
};

/* A connection's descriptor; the loop's source exists where libcurl waits for it. */
struct connection {
	struct list link;
	int fd;
};

struct watched_socket {
	struct loop_source source;
	struct loop_garbage garbage;
	struct drive *drive;
};

/* Runs libcurl for a descriptor that is ready, or for its timer. */
static void run_curl(struct drive *d, curl_socket_t fd, int ready)
{
	int running;

	d->is_inside = true;
	(void)curl_multi_socket_action(d->multi, fd, ready, &running);
	d->is_inside = false;
	d->ran(d);
}

static void socket_ready(struct loop_source *src, uint32_t events)
{
	struct watched_socket *w = container_of(src, struct watched_socket, source);
	int ready = 0;

	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		ready |= CURL_CSELECT_IN;
	if (events & (EPOLLOUT | EPOLLERR))
		ready |= CURL_CSELECT_OUT;
	run_curl(w->drive, src->fd, ready);
}

static void free_watched(struct loop_garbage *g)
{
	free(container_of(g, struct watched_socket, garbage));
}

static int socket_wanted(CURL *easy, curl_socket_t fd, int what, void *ctx, void *assigned)
{
	struct watched_socket *w = assigned;
	struct drive *d = ctx;
	uint32_t events = (what & CURL_POLL_IN ? EPOLLIN : 0) | (what & CURL_POLL_OUT ? EPOLLOUT : 0);

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (!w)
			return 0;
		(void)curl_multi_assign(d->multi, fd, NULL);
		loop_remove(d->loop, &w->source);
		w->garbage.free_fn = free_watched;
		loop_free_later(d->loop, &w->garbage);
		return 0;
	}
	if (w)
		return loop_modify(d->loop, &w->source, events);
	w = calloc(1, sizeof(*w));
	if (!w)
		return -1;
	*w = (struct watched_socket){ .source = { .fd = fd, .on_event = socket_ready }, .drive = d };
	if (loop_add(d->loop, &w->source, events) < 0) {
		free(w);
		return -1;
	}
	(void)curl_multi_assign(d->multi, fd, w);
	return 0;
}

static int timer_wanted(CURLM *multi, long timeout_ms, void *ctx)
{
	struct drive *d = ctx;

	(void)multi;
	if (timeout_ms < 0)
		loop_timer_clear(d->loop, &d->timer);
	else if (loop_timer_set(d->loop, &d->timer, instant_add_ms(loop_now(d->loop), (uint64_t)timeout_ms)) < 0)
		return -1;
	return 0;
}

static void timer_expired(struct loop_timer *t)
{
	struct drive *d = container_of(t, struct drive, timer);
	long left_ms = -1;

	run_curl(d, CURL_SOCKET_TIMEOUT, 0);
	/* Our clock is that of the batch's begin, so the timer may come a little early, and libcurl does not ask for the same time twice. */
	if (t->heap_index == 0 && curl_multi_timeout(d->multi, &left_ms) == CURLM_OK && left_ms >= 0)
		(void)timer_wanted(d->multi, left_ms > 0 ? left_ms : 1, d);
}

static curl_socket_t open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *address)
{
	const int on = 1, idle = KEEPALIVE_IDLE_S, interval = KEEPALIVE_INTERVAL_S;
	const unsigned user_timeout = USER_TIMEOUT_MS;
	struct drive *d = ctx;
	struct connection *n = malloc(sizeof(*n));

	if (!n || purpose != CURLSOCKTYPE_IPCXN) {
		free(n);
		return CURL_SOCKET_BAD;
	}
	n->fd = socket(address->family, address->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, address->protocol);
	if (n->fd < 0) {
		free(n);
		return CURL_SOCKET_BAD;
	}
	/* Where the kernel does not have one of them, the limit of silence remains. */
	(void)setsockopt(n->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	(void)setsockopt(n->fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	(void)setsockopt(n->fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
	(void)setsockopt(n->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout, sizeof(user_timeout));
	list_append(&d->sockets, &n->link);
	return n->fd;
}

static int close_socket(void *ctx, curl_socket_t fd)
{
	struct drive *d = ctx;

	list_for_each_safe(link, &d->sockets) {
		struct connection *n = container_of(link, struct connection, link);

		if (n->fd == fd) {
			list_remove(link);
			free(n);
		}
	}
	return close(fd);
}

int drive_init(struct drive *d, struct loop *loop, void (*ran)(struct drive *d))
{
	CURLM *multi = curl_multi_init();

	if (!multi)
		return -ENOMEM;
	*d = (struct drive){ .loop = loop, .multi = multi, .timer.on_expire = timer_expired, .ran = ran };
	list_init(&d->sockets);
	(void)curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, socket_wanted);
	(void)curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, d);
	(void)curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, timer_wanted);
	(void)curl_multi_setopt(multi, CURLMOPT_TIMERDATA, d);
	(void)curl_multi_setopt(multi, CURLMOPT_PIPELINING, (long)CURLPIPE_MULTIPLEX);
	return 0;
}

void drive_done(struct drive *d)
{
	assert(!d->is_inside);
	if (!d->multi)
		return;
	(void)curl_multi_cleanup(d->multi);
	loop_timer_clear(d->loop, &d->timer);
	d->multi = NULL;
}

void drive_own_sockets(struct drive *d, CURL *easy)
{
	(void)curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
	(void)curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, d);
	(void)curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, close_socket);
	(void)curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, d);
}

/* Also of a call that has ended libcurl tells the port of its connection, whether it made that or joined it. */
static bool is_connection_of(const struct connection *n, CURL *easy)
{
	struct sockaddr_storage local = { 0 };
	socklen_t len = sizeof(local);
	uint16_t port_be;
	long port = 0;

	if (curl_easy_getinfo(easy, CURLINFO_LOCAL_PORT, &port) != CURLE_OK || port <= 0)
		return false;
	if (getsockname(n->fd, (struct sockaddr *)&local, &len) < 0)
		return false;
	port_be = local.ss_family == AF_INET6 ? ((const struct sockaddr_in6 *)&local)->sin6_port
	                                      : ((const struct sockaddr_in *)&local)->sin_port;
	return ntohs(port_be) == port;
}

void drive_shut_silent(struct drive *d, CURL *easy, uint32_t silence_ms)
{
	list_for_each(link, &d->sockets) {
		struct connection *n = container_of(link, struct connection, link);
		struct tcp_info info = { 0 };
		socklen_t len = sizeof(info);

		if (is_connection_of(n, easy) && getsockopt(n->fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 &&
		    info.tcpi_last_data_recv >= silence_ms)
			(void)shutdown(n->fd, SHUT_RDWR);
	}
}
