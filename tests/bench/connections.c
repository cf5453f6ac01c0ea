/* SPDX-License-Identifier: GPL-3.0-or-later */
/* connections.c - what a new connection costs: each carries one request of 64 bytes and its answer.
 *   bench_connections answer PORT                            answers on any number of connections, until it is killed
 *   bench_connections ask ADDRESS PORT SECONDS AT_ONCE       opens, asks, closes, AT_ONCE at a time; prints a line "name value unit" for each figure.
 *                                                            Times run from before connect() to the first byte of the answer
 *   bench_connections hold ADDRESS PORT COUNT                opens COUNT, asks once on each, says "held", and keeps them until its input ends */
#include "measure.h"
#include "talk.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
	REQUEST_BYTES = 64,
	SAMPLES_MAX = 1 << 22,
	EVENTS_MAX = 256,
	BACKLOG = 4096,
	AT_ONCE_MAX = 4096,
	OPENING_AT_ONCE = 64, /* by hold: below every backlog on the way */
	PATIENCE_MS = 30000,  /* nothing at all happened for so long: it hangs */
};

static const char request[REQUEST_BYTES] = "one request";

static int epoll_made(void)
{
	int loop = epoll_create1(EPOLL_CLOEXEC);

	if (loop < 0)
		fail("epoll_create1");
	return loop;
}

static void epoll_added(int loop, int fd, uint32_t events, uint64_t what)
{
	struct epoll_event event = { .events = events, .data.u64 = what };

	if (epoll_ctl(loop, EPOLL_CTL_ADD, fd, &event) < 0)
		fail("epoll_ctl");
}

static void raise_limit(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) < 0)
		fail("RLIMIT_NOFILE");
	files.rlim_cur = files.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &files) < 0)
		fail("RLIMIT_NOFILE");
}

static void accept_all(int loop, int listener)
{
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
		send_at_once(fd);
		epoll_added(loop, fd, EPOLLIN, (uint64_t)fd);
	}
	if (errno != EAGAIN && errno != ECONNABORTED)
		fail("accept");
}

static _Noreturn void answer(const char *port)
{
	int loop = epoll_made(), listener = listen_on(port, BACKLOG, SOCK_NONBLOCK);

	epoll_added(loop, listener, EPOLLIN, (uint64_t)listener);
	for (;;) {
		struct epoll_event events[EVENTS_MAX];
		int n = epoll_wait(loop, events, EVENTS_MAX, -1);

		for (int i = 0; i < n; i++) {
			char buffer[REQUEST_BYTES];
			int fd = (int)events[i].data.u64;
			ssize_t got;

			if (fd == listener) {
				accept_all(loop, listener);
				continue;
			}
			got = recv(fd, buffer, sizeof(buffer), 0);
			if (got <= 0 || send(fd, buffer, (size_t)got, MSG_NOSIGNAL) != got)
				close(fd);
		}
	}
}

/* One connection after the other; its place in the array is what epoll tells. */
struct client {
	int fd;
	bool has_asked;
	double began_us;
};

static bool client_begun(struct client *client, int loop, const struct addrinfo *server, uint64_t place)
{
	*client = (struct client){ .began_us = wall_us() };
	client->fd = socket(server->ai_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (client->fd < 0)
		fail("socket");
	send_at_once(client->fd);
	if (connect(client->fd, server->ai_addr, server->ai_addrlen) < 0 && errno != EINPROGRESS) {
		close(client->fd);
		return false;
	}
	epoll_added(loop, client->fd, EPOLLIN | EPOLLOUT | EPOLLET, place);
	return true;
}

enum progress { STILL_WAITING, ANSWERED, BROKEN };

static enum progress client_went_on(struct client *client, uint32_t events)
{
	char buffer[REQUEST_BYTES];
	ssize_t got;

	if (events & EPOLLERR)
		return BROKEN;
	if (!client->has_asked && (events & EPOLLOUT)) {
		if (send(client->fd, request, sizeof(request), MSG_NOSIGNAL) != sizeof(request))
			return BROKEN;
		client->has_asked = true;
	}
	if (!client->has_asked || !(events & EPOLLIN))
		return STILL_WAITING;
	got = recv(client->fd, buffer, sizeof(buffer), 0);
	if (got < 0 && errno == EAGAIN)
		return STILL_WAITING;
	return got > 0 ? ANSWERED : BROKEN;
}

static int waited(int loop, struct epoll_event *events)
{
	int n = epoll_wait(loop, events, EVENTS_MAX, PATIENCE_MS);

	if (n == 0) {
		fprintf(stderr, "no connection went on for %d s\n", PATIENCE_MS / 1000);
		exit(EXIT_FAILURE);
	}
	return n;
}

static int ask(const struct addrinfo *server, double seconds, size_t at_once)
{
	struct client *clients = calloc(at_once, sizeof(*clients));
	float *samples = calloc(SAMPLES_MAX, sizeof(*samples)); /* its pages come as they are written */
	size_t count = 0, running = 0, broken = 0;
	double began = wall_us(), end = began + seconds * 1e6, last = began;
	int loop = epoll_made();

	if (!clients || !samples)
		fail("samples");
	while (running < at_once) {
		if (!client_begun(&clients[running], loop, server, running))
			fail("connect");
		running++;
	}
	while (running > 0) {
		struct epoll_event events[EVENTS_MAX];
		int n = waited(loop, events);

		for (int i = 0; i < n; i++) {
			struct client *client = &clients[events[i].data.u64];
			enum progress progress = client_went_on(client, events[i].events);
			double now;

			if (progress == STILL_WAITING)
				continue;
			now = wall_us();
			if (progress == BROKEN) {
				broken++;
			} else if (now < end && count < SAMPLES_MAX) {
				samples[count++] = (float)(now - client->began_us);
				last = now;
			}
			close(client->fd);
			running--;
			if (now >= end)
				continue;
			if (client_begun(client, loop, server, events[i].data.u64))
				running++;
			else
				fail("connect");
		}
	}
	printf("rate %.1f 1/s\n", last > began ? (double)count / (last - began) * 1e6 : 0.0);
	printf("broken %zu\n", broken);
	print_times(samples, count);
	free(samples);
	free(clients);
	close(loop);
	return 0;
}

static int hold(const struct addrinfo *server, size_t count)
{
	struct client *clients = calloc(count, sizeof(*clients));
	size_t begun = 0, answered = 0;
	int loop = epoll_made();
	char c;

	if (!clients)
		fail("clients");
	while (answered < count) {
		struct epoll_event events[EVENTS_MAX];
		int n;

		for (; begun < count && begun - answered < OPENING_AT_ONCE; begun++) {
			if (!client_begun(&clients[begun], loop, server, begun))
				fail("connect");
		}
		n = waited(loop, events);
		for (int i = 0; i < n; i++) {
			switch (client_went_on(&clients[events[i].data.u64], events[i].events)) {
			case STILL_WAITING:
				break;
			case ANSWERED:
				answered++;
				break;
			case BROKEN:
				fprintf(stderr, "connection %zu of %zu was broken\n", (size_t)events[i].data.u64 + 1, count);
				return EXIT_FAILURE;
			}
		}
	}
	printf("held %zu\n", count);
	(void)fflush(stdout);
	while (read(STDIN_FILENO, &c, 1) > 0)
		continue;
	free(clients);
	return 0; /* and the kernel closes them all */
}

int main(int argc, char **argv)
{
	raise_limit();
	if (argc == 3 && strcmp(argv[1], "answer") == 0)
		answer(argv[2]);
	if (argc == 6 && strcmp(argv[1], "ask") == 0 && strtod(argv[4], NULL) > 0) {
		size_t at_once = strtoul(argv[5], NULL, 10);

		if (at_once > 0 && at_once <= AT_ONCE_MAX)
			return ask(resolved(argv[2], argv[3]), strtod(argv[4], NULL), at_once);
	}
	if (argc == 5 && strcmp(argv[1], "hold") == 0 && strtoul(argv[4], NULL, 10) > 0)
		return hold(resolved(argv[2], argv[3]), strtoul(argv[4], NULL, 10));
	fprintf(stderr, "usage: bench_connections answer PORT | ask ADDRESS PORT SECONDS AT_ONCE (1 to %d) | hold ADDRESS PORT COUNT\n",
	        AT_ONCE_MAX);
	return 2;
}
