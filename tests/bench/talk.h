/* SPDX-License-Identifier: GPL-3.0-or-later */
/* talk.h - sockets of the measuring programs: what fails ends the program with its reason. */
#ifndef CULVERT_BENCH_TALK_H
#define CULVERT_BENCH_TALK_H

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

static inline _Noreturn void fail(const char *what)
{
	perror(what);
	exit(EXIT_FAILURE);
}

static inline void send_at_once(int fd)
{
	const int on = 1;

	if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0)
		fail("TCP_NODELAY");
}

/* On every address; type_flags: SOCK_NONBLOCK or 0. Says so on standard output, for the caller to wait for. */
static inline int listen_on(const char *port, int backlog, int type_flags)
{
	struct sockaddr_in6 any = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)strtoul(port, NULL, 10)) };
	int listener = socket(AF_INET6, SOCK_STREAM | type_flags, 0);
	const int on = 1;

	if (listener < 0 || setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    bind(listener, (struct sockaddr *)&any, sizeof(any)) < 0 || listen(listener, backlog) < 0)
		fail("listen");
	printf("listening\n");
	(void)fflush(stdout);
	return listener;
}

/* The caller frees it. */
static inline struct addrinfo *resolved(const char *address, const char *port)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV }, *found;

	if (getaddrinfo(address, port, &hints, &found) != 0) {
		fprintf(stderr, "%s port %s: an address and a port would be right\n", address, port);
		exit(EXIT_FAILURE);
	}
	return found;
}

static inline int by_size(const void *a, const void *b)
{
	const float *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* Sorts them, and prints a line "name value unit" for each figure. */
static inline void print_times(float *samples_us, size_t count)
{
	printf("count %zu\n", count);
	if (count == 0)
		return;
	qsort(samples_us, count, sizeof(*samples_us), by_size);
	printf("p50 %.1f us\n", (double)samples_us[count / 2]);
	printf("p99 %.1f us\n", (double)samples_us[count - 1 - count / 100]);
	printf("p99.9 %.1f us\n", (double)samples_us[count - 1 - count / 1000]);
	printf("longest %.1f us\n", (double)samples_us[count - 1]);
}

#endif
