/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "talk.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

bool talk_has_come(void *ctx)
{
	const struct side *s = ctx;

	return s->pods_taken < s->pods_count;
}

bool talk_is_over(void *ctx)
{
	const struct pair *p = ctx;

	return (!p->side[0].pool || !p->side[0].pool->streams_count) && (!p->side[1].pool || !p->side[1].pool->streams_count);
}

bool talk_is_dialing(void *ctx)
{
	const struct side *s = ctx;

	return s->pool->streams_count == 1 && talk_stream(s)->state == STREAM_DIALING;
}

void talk_open(struct pair *p, int from, const char *client, const char *server, int *ret_client, int *ret_server)
{
	struct side *to = &p->side[!from];

	*ret_client = pair_open(p, from, client, server);
	assert_true(pair_pump(p, talk_has_come, to));
	*ret_server = side_take_pod(to);
}

void talk_end(struct pair *p, int first, int second)
{
	close(first);
	close(second);
	assert_true(pair_pump(p, talk_is_over, p));
}

struct readable {
	int fd;
	ssize_t result;
};

static bool is_readable(void *ctx)
{
	struct readable *r = ctx;
	char byte;
	ssize_t n = recv(r->fd, &byte, 1, MSG_PEEK);

	r->result = n < 0 ? -errno : n;
	return r->result != -EAGAIN;
}

ssize_t talk_wait(struct pair *p, int fd)
{
	struct readable r = { .fd = fd };

	(void)pair_pump(p, is_readable, &r);
	return r.result;
}

void talk_say(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

void talk_expect(struct pair *p, int fd, const char *text)
{
	char got[256];
	size_t at = 0;

	assert_true(strlen(text) < sizeof(got));
	while (at < strlen(text)) {
		ssize_t n;

		assert_true(talk_wait(p, fd) > 0);
		n = recv(fd, got + at, strlen(text) - at, 0);
		assert_true(n > 0);
		at += (size_t)n;
	}
	got[at] = '\0';
	assert_string_equal(got, text);
}

struct stream *talk_stream(const struct side *s)
{
	assert_int_equal(s->pool->streams_count, 1);
	return container_of(s->pool->streams.next, struct stream, all);
}

void talk_reset(int fd)
{
	struct linger l = { 1, 0 };

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l)), 0);
	close(fd);
}
