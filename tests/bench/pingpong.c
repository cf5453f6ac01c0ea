/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pingpong.c - how long a small message and its answer take over one connection.
 *   bench_pingpong answer PORT                         sends back what it gets, one connection after the other, until it is killed
 *   bench_pingpong ask ADDRESS PORT SECONDS [BYTES]    prints a line "name value unit" for each figure */
#include "measure.h"
#include "talk.h"

#include <unistd.h>

enum { MESSAGE_BYTES = 64, MESSAGE_MAX_BYTES = 4096, SAMPLES_MAX = 1 << 24 };

static _Noreturn void answer(const char *port)
{
	int listener = listen_on(port, 1, 0);

	for (;;) {
		char buffer[MESSAGE_MAX_BYTES];
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
	struct addrinfo *found = resolved(address, port);
	int fd = socket(found->ai_family, SOCK_STREAM, 0);

	if (fd < 0 || connect(fd, found->ai_addr, found->ai_addrlen) < 0)
		fail("connect");
	freeaddrinfo(found);
	send_at_once(fd);
	return fd;
}

static int ask(const char *address, const char *port, double seconds, size_t message_bytes)
{
	float *samples = calloc(SAMPLES_MAX, sizeof(*samples)); /* its pages come as they are written */
	char message[MESSAGE_MAX_BYTES] = "how long does it take?";
	int fd = connected(address, port);
	size_t count = 0;
	double began, end;

	if (!samples)
		fail("samples");
	began = wall_us();
	end = began + seconds * 1e6;
	while (began < end && count < SAMPLES_MAX) {
		double now;

		if (send(fd, message, message_bytes, MSG_NOSIGNAL) != (ssize_t)message_bytes ||
		    recv(fd, message, message_bytes, MSG_WAITALL) != (ssize_t)message_bytes)
			fail("the connection");
		now = wall_us();
		samples[count++] = (float)(now - began);
		began = now;
	}
	print_times(samples, count);
	free(samples);
	close(fd);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "answer") == 0)
		answer(argv[2]);
	if ((argc == 5 || argc == 6) && strcmp(argv[1], "ask") == 0 && strtod(argv[4], NULL) > 0) {
		size_t message_bytes = argc == 6 ? strtoul(argv[5], NULL, 10) : MESSAGE_BYTES;

		if (message_bytes > 0 && message_bytes <= MESSAGE_MAX_BYTES)
			return ask(argv[2], argv[3], strtod(argv[4], NULL), message_bytes);
	}
	fprintf(stderr, "usage: bench_pingpong answer PORT | ask ADDRESS PORT SECONDS [BYTES], BYTES 1 to %d\n", MESSAGE_MAX_BYTES);
	return 2;
}
