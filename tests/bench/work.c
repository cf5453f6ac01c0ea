/* SPDX-License-Identifier: GPL-3.0-or-later */
/* work.c - an amount of work that is the same each time, for what counts instead of timing.
 *   bench_work answer PORT                                                     until it is killed
 *   bench_work ask PORT CONNECTIONS WARM COUNT UP DOWN ADDRESS...
 *
 * An exchange is UP bytes there and DOWN bytes back. Each connection makes WARM of them; then it says "warm", waits for a line, and each makes COUNT; then it
 * says "done" and keeps the connections until its input ends. Connections go to the addresses in turns. */
#include "talk.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
	EVENTS_MAX = 64,
	BACKLOG = 256,
	PIECE_BYTES = 1 << 17,
};

/* What each exchange begins with; it counts as bytes that go up. */
struct order {
	uint64_t up_bytes, down_bytes; /* that are still to come after it */
};

/* Both ends of a connection: whose turn it is, and what is left of it. */
struct side {
	int fd;
	uint64_t in_bytes, out_bytes;
	uint64_t exchanges; /* the asking side's, that it has still to begin */
};

static char piece[PIECE_BYTES];

static int loop_made(void)
{
	int loop = epoll_create1(EPOLL_CLOEXEC);

	if (loop < 0)
		fail("epoll_create1");
	return loop;
}

static void watched(int loop, struct side *side)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = side };
	const int on = 1;

	send_at_once(side->fd);
	if (ioctl(side->fd, FIONBIO, &on) < 0 || epoll_ctl(loop, EPOLL_CTL_ADD, side->fd, &event) < 0)
		fail("epoll_ctl");
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* How far it comes without blocking. False where the other side has ended. */
static bool read_on(struct side *side, uint64_t *left)
{
	while (*left > 0) {
		ssize_t n = recv(side->fd, piece, (size_t)smaller(*left, sizeof(piece)), 0);

		if (n < 0 && errno == EAGAIN)
			return true;
		if (n <= 0)
			return false;
		*left -= (uint64_t)n;
	}
	return true;
}

static bool write_on(struct side *side, uint64_t *left)
{
	while (*left > 0) {
		ssize_t n = send(side->fd, piece, (size_t)smaller(*left, sizeof(piece)), MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN)
			return true;
		if (n <= 0)
			return false;
		*left -= (uint64_t)n;
	}
	return true;
}

/* --- the answering side --- */

static bool answered_on(struct side *side)
{
	for (;;) {
		struct order order;
		ssize_t n;

		if (!read_on(side, &side->in_bytes) || (side->in_bytes == 0 && !write_on(side, &side->out_bytes)))
			return false;
		if (side->in_bytes > 0 || side->out_bytes > 0)
			return true;
		n = recv(side->fd, &order, sizeof(order), 0);
		if (n < 0 && errno == EAGAIN)
			return true;
		if (n != sizeof(order)) /* it is sent as one */
			return false;
		side->in_bytes = order.up_bytes;
		side->out_bytes = order.down_bytes;
	}
}

static _Noreturn void answer(const char *port)
{
	int loop = loop_made(), listener = listen_on(port, BACKLOG, SOCK_NONBLOCK);
	struct epoll_event listening = { .events = EPOLLIN };

	if (epoll_ctl(loop, EPOLL_CTL_ADD, listener, &listening) < 0)
		fail("epoll_ctl");
	for (;;) {
		struct epoll_event events[EVENTS_MAX];
		int n = epoll_wait(loop, events, EVENTS_MAX, -1);

		for (int i = 0; i < n; i++) {
			struct side *side = events[i].data.ptr;

			if (!side) {
				side = calloc(1, sizeof(*side));
				if (!side)
					fail("a connection");
				side->fd = accept(listener, NULL, NULL);
				if (side->fd < 0)
					fail("accept");
				watched(loop, side);
			} else if (!answered_on(side)) {
				close(side->fd);
				free(side);
			}
		}
	}
}

/* --- the asking side --- */

static bool asked_on(struct side *side, const struct order *order)
{
	for (;;) {
		if (!write_on(side, &side->out_bytes) || (side->out_bytes == 0 && !read_on(side, &side->in_bytes)))
			return false;
		if (side->out_bytes > 0 || side->in_bytes > 0 || side->exchanges == 0)
			return true;
		side->exchanges--;
		memcpy(piece, order, sizeof(*order));
		side->in_bytes = order->down_bytes;
		side->out_bytes = sizeof(*order) + order->up_bytes;
	}
}

/* So many exchanges on each. */
static void made(int loop, struct side *sides, size_t count, uint64_t exchanges, const struct order *order)
{
	size_t busy = exchanges ? count : 0;
	bool is_first = true;

	for (size_t i = 0; i < count; i++)
		sides[i].exchanges = exchanges;
	while (busy > 0) {
		struct epoll_event events[EVENTS_MAX];
		int n = is_first ? 0 : epoll_wait(loop, events, EVENTS_MAX, -1);

		for (size_t i = 0; i < (is_first ? count : (size_t)n); i++) {
			struct side *side = is_first ? &sides[i] : events[i].data.ptr;
			bool was_busy = side->exchanges > 0 || side->in_bytes > 0 || side->out_bytes > 0;

			if (!asked_on(side, order))
				fail("a connection");
			busy -= was_busy && side->exchanges == 0 && side->in_bytes == 0 && side->out_bytes == 0;
		}
		is_first = false;
	}
}

static void said(const char *what)
{
	printf("%s\n", what);
	(void)fflush(stdout);
	(void)getchar();
}

static int ask(int argc, char **argv)
{
	size_t count = strtoul(argv[3], NULL, 10), addresses = (size_t)argc - 8;
	struct order order = { .up_bytes = strtoull(argv[6], NULL, 10), .down_bytes = strtoull(argv[7], NULL, 10) };
	struct side *sides = calloc(count, sizeof(*sides));
	int loop = loop_made();

	if (!sides || order.up_bytes < sizeof(order))
		fail("sides");
	order.up_bytes -= sizeof(order);
	for (size_t i = 0; i < count; i++) {
		struct addrinfo *server = resolved(argv[8 + i % addresses], argv[2]);

		sides[i].fd = socket(server->ai_family, SOCK_STREAM, 0);
		if (sides[i].fd < 0 || connect(sides[i].fd, server->ai_addr, server->ai_addrlen) < 0)
			fail("connect");
		freeaddrinfo(server);
		watched(loop, &sides[i]);
	}
	made(loop, sides, count, strtoull(argv[4], NULL, 10), &order);
	said("warm");
	made(loop, sides, count, strtoull(argv[5], NULL, 10), &order);
	said("done");
	free(sides);
	return 0; /* and the kernel closes them all */
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "answer") == 0)
		answer(argv[2]);
	if (argc >= 9 && strcmp(argv[1], "ask") == 0)
		return ask(argc, argv);
	fprintf(stderr, "usage: bench_work answer PORT | ask PORT CONNECTIONS WARM COUNT UP DOWN ADDRESS..., UP 16 or more\n");
	return 2;
}
