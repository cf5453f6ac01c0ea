/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "edge/watch.h"

#include "base/list.h"
#include "edge/netlink.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum {
	/* Judging by routes reads the whole table: once in so long is soon enough for a device that has its programs already. */
	ROUTES_DEBOUNCE_MS = 100,
	/* A burst of so many bytes is kept for us; what is lost beyond it is read from the tables. */
	BUFFER_BYTES = 1 << 20,
};

struct watch {
	struct loop *loop;
	void (*on_change)(void *ctx);
	void *ctx;
	struct nl_sock *socket;
	struct loop_source source;
	struct loop_timer routes_timer;
};

static void on_routes_timer(struct loop_timer *timer)
{
	struct watch *w = container_of(timer, struct watch, routes_timer);

	w->on_change(w->ctx);
}

void watch_poll(struct watch *w)
{
	char buffer[32768] __attribute__((aligned(NLMSG_ALIGNTO)));
	bool is_urgent = false, has_routes = false;
	struct nlmsghdr *h;
	ssize_t got;
	int left;

	for (;;) {
		got = recv(w->source.fd, buffer, sizeof(buffer), MSG_DONTWAIT);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			/* Too much at once: what was lost is read from the tables. */
			if (errno == ENOBUFS) {
				is_urgent = true;
				continue;
			}
			break;
		}
		left = (int)got;
		for (h = (struct nlmsghdr *)buffer; nlmsg_ok(h, left); h = nlmsg_next(h, &left)) {
			if (h->nlmsg_type == RTM_NEWROUTE || h->nlmsg_type == RTM_DELROUTE)
				has_routes = true;
			else
				is_urgent = true;
		}
	}
	if (is_urgent) {
		loop_timer_clear(w->loop, &w->routes_timer);
		w->on_change(w->ctx);
	} else if (has_routes && !w->routes_timer.heap_index) {
		if (loop_timer_set(w->loop, &w->routes_timer, instant_add_ms(loop_now(w->loop), ROUTES_DEBOUNCE_MS)))
			w->on_change(w->ctx);
	}
}

static void on_watch(struct loop_source *src, uint32_t events)
{
	(void)events;
	watch_poll(container_of(src, struct watch, source));
}

int watch_create(struct loop *loop, void (*on_change)(void *ctx), void *ctx, struct watch **ret)
{
	static const int groups[] = { RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE };
	struct watch *w = calloc(1, sizeof(*w));
	int code = 0;

	if (!w)
		return -ENOMEM;
	w->loop = loop;
	w->on_change = on_change;
	w->ctx = ctx;
	w->source = (struct loop_source){ .fd = -1, .on_event = on_watch };
	w->routes_timer = (struct loop_timer){ .on_expire = on_routes_timer };
	w->socket = netlink_open();
	if (!w->socket)
		code = -ENOMEM;
	for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]) && !code; i++)
		if (nl_socket_add_membership(w->socket, groups[i]))
			code = -EIO;
	if (!code) {
		(void)nl_socket_set_buffer_size(w->socket, BUFFER_BYTES, 0);
		w->source.fd = nl_socket_get_fd(w->socket);
		code = loop_add(loop, &w->source, EPOLLIN);
	}
	if (code) {
		netlink_close(w->socket);
		free(w);
		return code;
	}
	*ret = w;
	return 0;
}

void watch_destroy(struct watch *w)
{
	if (!w)
		return;
	loop_timer_clear(w->loop, &w->routes_timer);
	loop_remove(w->loop, &w->source);
	netlink_close(w->socket);
	free(w);
}
