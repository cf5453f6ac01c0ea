/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "accept.h"

#include "base/log.h"
#include "net/sock.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
	ACCEPT_PAUSE_MS = 100, /* no descriptors: the queue of the listener waits so long */
	TUNNEL_BACKLOG = 1024,
};

static void on_accept_pause_over(struct loop_timer *t)
{
	struct daemon *d = container_of(t, struct daemon, accept_pause);

	(void)loop_add(d->loop, &d->tunnel_listener, EPOLLIN);
}

static void on_tunnel_listener(struct loop_source *src, uint32_t events)
{
	struct daemon *d = container_of(src, struct daemon, tunnel_listener);
	struct endpoint from;
	uint32_t kept_back;
	int fd;

	(void)events;
	fd = sock_accept(src->fd, &from, NULL);
	if (fd >= 0) {
		engine_accept(d->engine, fd, &from);
		return;
	}
	if (fd != -EMFILE && fd != -ENFILE && fd != -ENOBUFS && fd != -ENOMEM)
		return; /* none there, or gone again */
	loop_remove(d->loop, src);
	(void)loop_timer_set(d->loop, &d->accept_pause, instant_add_ms(loop_now(d->loop), ACCEPT_PAUSE_MS));
	if (log_limit_allow(&d->accept_log, loop_now(d->loop).ns, &kept_back))
		log_warn("no more tunnels for now: raise the limit of open files", L_ERRNO(fd), L_U64("kept_back", kept_back));
}

static int give_rings(struct daemon *d)
{
	for (uint32_t w = 0; w < engine_workers(d->engine); w++) {
		int fd = engine_hold_fd(d->engine, w), r = fd < 0 ? 0 : capture_set_hold(d->capture, w, fd);

		if (r) {
			log_error("the ring for connections that are held can not be given to the kernel", L_U64("worker", w), L_ERRNO(r));
			return r;
		}
	}
	return 0;
}

int accept_start(struct daemon *d)
{
	static const int families[2] = { AF_INET, AF_INET6 };
	int r;

	d->accept_pause.on_expire = on_accept_pause_over;
	d->accept_log = (struct log_limit){ .interval_ns = 10 * NS_PER_S, .burst = 5 };
	/* Other nodes first: a stream that begins needs a tunnel. */
	d->tunnel_listener = (struct loop_source){ .fd = sock_listen_tunnel((uint16_t)d->config.tunnel.port, TUNNEL_BACKLOG),
		                                   .on_event = on_tunnel_listener };
	if (d->tunnel_listener.fd < 0) {
		log_error("the tunnel port can not be listened on", L_U64("port", d->config.tunnel.port), L_ERRNO(d->tunnel_listener.fd));
		return d->tunnel_listener.fd;
	}
	/* With the first listener SYNs come for every worker. */
	r = give_rings(d);
	if (r)
		return r;
	for (uint32_t w = 0; w < engine_workers(d->engine); w++) {
		for (int i = 0; i < 2; i++) {
			int fd = engine_listener_fd(d->engine, w, families[i]);

			r = fd < 0 ? 0 : capture_set_listener(d->capture, w, families[i], fd);
			if (r) {
				log_error("a listener can not be given to the kernel", L_U64("worker", w), L_ERRNO(r));
				return r;
			}
		}
	}
	return loop_add(d->loop, &d->tunnel_listener, EPOLLIN);
}

void accept_stop(struct daemon *d)
{
	if (d->tunnel_listener.fd < 0)
		return;
	loop_timer_clear(d->loop, &d->accept_pause);
	loop_remove(d->loop, &d->tunnel_listener);
	close(d->tunnel_listener.fd);
	d->tunnel_listener.fd = -1;
}
