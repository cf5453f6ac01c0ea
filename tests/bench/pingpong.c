/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pingpong.c - how long a small message and its answer take over one connection.
 *   bench_pingpong answer PORT                 sends back what it gets, one connection after the other, until it is killed
 *   bench_pingpong ask ADDRESS PORT SECONDS    prints a line "name value unit" for each figure */
#include "measure.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MESSAGE_BYTES = 64, SAMPLES_MAX = 1 << 24 };

static void fail(const char *what)
{
	perror(what);
	exit(EXIT_FAILURE);
}

static void send_at_once(int fd)
{
	const int on = 1;

	if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0)
		fail("TCP_NODELAY");
}

static _Noreturn void answer(const char *port)
{
	struct sockaddr_in6 any = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)strtoul(port, NULL, 10)) };
	int listener = socket(AF_INET6, SOCK_STREAM, 0);
	const int on = 1;

	if (listener < 0 || setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    bind(listener, (struct sockaddr *)&any, sizeof(any)) < 0 || listen(listener, 1) < 0)
		fail("listen");
	printf("listening\n");
	(void)fflush(stdout);
	for (;;) {
		char buffer[4096];
		int fd = accept(listener, NULL, NULL);
		ssize_t n;

		if (fd < 0)
			fail("accept");
		send_at_once(fd);
		while ((n = recv(fd, buffer, sizeof(buffer), 0)) > 0) {
			if (send(fd, buffer, (size_t)n, MSG_NOSIGNAL) != n)
				break;
		}
		close(fd);
	}
}

static int connected(const char *address, const char *port)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV }, *found;
	int fd;

	if (getaddrinfo(address, port, &hints, &found) != 0) {
		fprintf(stderr, "%s port %s: an address and a port would be right\n", address, port);
		exit(EXIT_FAILURE);
	}
	fd = socket(found->ai_family, SOCK_STREAM, 0);
	if (fd < 0 || connect(fd, found->ai_addr, found->ai_addrlen) < 0)
		fail("connect");
	freeaddrinfo(found);
	send_at_once(fd);
	return fd;
}

static int by_size(const void *a, const void *b)
{
	const float *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static int ask(const char *address, const char *port, double seconds)
{
	float *samples = calloc(SAMPLES_MAX, sizeof(*samples)); /* its pages come as they are written */
	char message[MESSAGE_BYTES] = "how long does it take?";
	int fd = connected(address, port);
	size_t count = 0;
	double began, end;

	if (!samples)
		fail("samples");
	began = wall_us();
	end = began + seconds * 1e6;
	while (began < end && count < SAMPLES_MAX) {
		double now;

		if (send(fd, message, sizeof(message), MSG_NOSIGNAL) != MESSAGE_BYTES ||
		    recv(fd, message, sizeof(message), MSG_WAITALL) != MESSAGE_BYTES)
			fail("the connection");
		now = wall_us();
		samples[count++] = (float)(now - began);
		began = now;
	}
	qsort(samples, count, sizeof(*samples), by_size);
	printf("count %zu\n", count);
	printf("p50 %.1f us\n", (double)samples[count / 2]);
	printf("p99 %.1f us\n", (double)samples[count - 1 - count / 100]);
	printf("p99.9 %.1f us\n", (double)samples[count - 1 - count / 1000]);
	printf("longest %.1f us\n", (double)samples[count - 1]);
	free(samples);
	close(fd);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "answer") == 0)
		answer(argv[2]);
	if (argc == 5 && strcmp(argv[1], "ask") == 0 && strtod(argv[4], NULL) > 0)
		return ask(argv[2], argv[3], strtod(argv[4], NULL));
	fprintf(stderr, "usage: bench_pingpong answer PORT | ask ADDRESS PORT SECONDS\n");
	return 2;
}
