/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ctl/client.h"

#include "base/delimited.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum { REQUEST_MAX = 1024 };

static int fault(char error[CLIENT_ERROR_BYTES], int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
static int fault(char error[CLIENT_ERROR_BYTES], int code, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(error, CLIENT_ERROR_BYTES, format, args);
	va_end(args);
	return code;
}

static int client_connect(const char *path, char error[CLIENT_ERROR_BYTES])
{
	const struct timeval patience = { .tv_sec = CLIENT_PATIENCE_MS / 1000, .tv_usec = CLIENT_PATIENCE_MS % 1000 * 1000 };
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd, r;

	if (!path[0] || strlen(path) >= sizeof(sa.sun_path))
		return fault(error, -ENAMETOOLONG, "%.200s: a socket's path has 1 to %zu bytes", path, sizeof(sa.sun_path) - 1);
	strcpy(sa.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return fault(error, -errno, "a socket can not be made: %s", strerror(errno));
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (connect(fd, (const struct sockaddr *)&sa, sizeof(sa)) == 0)
		return fd;
	r = -errno;
	close(fd);
	if (r == -ENOENT || r == -ECONNREFUSED)
		return fault(error, r, "no daemon answers at %s: is culvertd running, and is --socket right?", path);
	if (r == -EACCES)
		return fault(error, r, "%s may not be used by this user: try it as root", path);
	return fault(error, r, "%s: %s", path, strerror(-r));
}

/* What the daemon refuses it answers before it has read all, and then closes: so a failed send is no reason not to read. */
static void client_send(int fd, const uint8_t *bytes, size_t len_bytes)
{
	size_t sent = 0;

	while (sent < len_bytes) {
		ssize_t n = send(fd, bytes + sent, len_bytes - sent, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return;
		sent += (size_t)n;
	}
}

static int client_read(int fd, uint8_t *dst, size_t len_bytes, char error[CLIENT_ERROR_BYTES])
{
	size_t have = 0;

	while (have < len_bytes) {
		ssize_t n = recv(fd, dst + have, len_bytes - have, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return fault(error, -ETIMEDOUT, "the daemon did not answer within %d s", CLIENT_PATIENCE_MS / 1000);
		if (n < 0)
			return fault(error, -errno, "the daemon's answer can not be read: %s", strerror(errno));
		if (n == 0)
			return fault(error, -ECONNRESET, "the daemon closed the connection before its answer was whole");
		have += (size_t)n;
	}
	return 0;
}

static int client_receive(int fd, Culvert__Status__Response **ret, char error[CLIENT_ERROR_BYTES])
{
	uint8_t head[DELIMITED_HEAD_MAX], *body;
	uint32_t body_len = 0;
	int r, head_len = 0;

	/* Byte by byte: what lies behind the head is the body's. */
	for (size_t have = 0; !head_len; have++) {
		r = client_read(fd, head + have, 1, error);
		if (r)
			return r;
		head_len = delimited_get(head, have + 1, &body_len);
	}
	if (head_len < 0 || body_len > CLIENT_ANSWER_MAX)
		return fault(error, -EBADMSG, "the answer is none of culvertd's status socket");
	body = malloc(body_len ? body_len : 1);
	if (!body)
		return fault(error, -ENOMEM, "no memory for an answer of %u bytes", body_len);
	r = client_read(fd, body, body_len, error);
	if (!r) {
		*ret = culvert__status__response__unpack(NULL, body_len, body);
		if (!*ret)
			r = fault(error, -EBADMSG, "the answer is none of culvertd's status socket");
	}
	free(body);
	return r;
}

int client_ask(const char *path, const Culvert__Status__Request *request, Culvert__Status__Response **ret, char error[CLIENT_ERROR_BYTES])
{
	uint8_t bytes[DELIMITED_HEAD_MAX + REQUEST_MAX];
	size_t len = culvert__status__request__get_packed_size(request), head;
	int fd, r;

	if (len > REQUEST_MAX)
		return fault(error, -EMSGSIZE, "the request is too long: a node's name has at most 253 bytes");
	fd = client_connect(path, error);
	if (fd < 0)
		return fd;
	head = delimited_put(bytes, (uint32_t)len);
	(void)culvert__status__request__pack(request, bytes + head);
	client_send(fd, bytes, head + len);
	r = client_receive(fd, ret, error);
	close(fd);
	return r;
}
