/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tunnel/listener.h"

#include "net/sock.h"
#include "tunnel/admission.h"
#include "tunnel/pool.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
	ACCEPTS_PER_EVENT = 64,
	ACCEPT_PAUSE_MS = 100, /* no descriptors left: running streams give some back meanwhile */
};

static void listeners_pause(struct pool *p, int error)
{
	uint32_t kept_back;

	p->counters.accept_pauses++;
	for (int i = 0; i < p->listeners_count; i++)
		loop_remove(p->loop, &p->listeners[i].source);
	(void)loop_timer_set(p->loop, &p->accept_pause, instant_add_ms(pool_now(p), ACCEPT_PAUSE_MS));
	if (log_limit_allow(&p->accept_log, pool_now(p).ns, &kept_back))
		log_warn("no more connections for now: raise the limit of open files", L_ERRNO(error), L_U64("streams", p->streams_count),
		         L_U64("kept_back", kept_back));
}

static void on_accept_pause_over(struct loop_timer *t)
{
	struct pool *p = container_of(t, struct pool, accept_pause);

	p->accept_behind = pool_now(p);
	for (int i = 0; i < p->listeners_count; i++) {
		if (loop_add(p->loop, &p->listeners[i].source, EPOLLIN)) {
			listeners_pause(p, ENOMEM);
			return;
		}
	}
}

static void listener_on_event(struct loop_source *src, uint32_t events)
{
	struct pool_listener *listener = container_of(src, struct pool_listener, source);
	struct pool *p = listener->pool;

	(void)events;
	for (int i = 0; i < ACCEPTS_PER_EVENT; i++) {
		struct endpoint client, server;
		int fd = sock_accept(src->fd, &client, &server);

		if (fd == -EAGAIN)
			return;
		if (fd == -EMFILE || fd == -ENFILE || fd == -ENOBUFS || fd == -ENOMEM) {
			listeners_pause(p, -fd);
			return;
		}
		if (fd < 0)
			continue; /* that connection is gone already */
		p->counters.accepted++;
		stream_accepted(p, fd, &client, &server);
	}
	p->accept_behind = pool_now(p);
}

void listeners_init(struct pool *p)
{
	p->accept_pause.on_expire = on_accept_pause_over;
}

int pool_add_listener(struct pool *p, int fd)
{
	struct pool_listener *listener;

	if (p->listeners_count == 2) {
		close(fd);
		return -ENOSPC;
	}
	listener = &p->listeners[p->listeners_count++];
	*listener = (struct pool_listener){ .source = { .fd = fd, .on_event = listener_on_event }, .pool = p };
	return loop_add(p->loop, &listener->source, EPOLLIN);
}

void listeners_close(struct pool *p)
{
	loop_timer_clear(p->loop, &p->accept_pause);
	for (int i = 0; i < p->listeners_count; i++)
		loop_close(p->loop, &p->listeners[i].source);
	p->listeners_count = 0;
}
