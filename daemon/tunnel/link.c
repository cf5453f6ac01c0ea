/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tunnel/link.h"

#include "net/sock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
	STOCK_KEEP = 8,       /* buffers kept for the next user; more than this are in use at once only for moments */
	FRAME_MIN_BYTES = 512 /* less room than that in a record: the next one is begun */
};

#define LINK_EVENTS (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET)

void link_stock_init(struct link_stock *s)
{
	*s = (struct link_stock){ 0 };
}

static void stock_shrink(struct link_stock *s, uint32_t count)
{
	for (; s->free_count > count; s->free_count--) {
		void *next = *(void **)s->free_list;

		free(s->free_list);
		s->free_list = next;
	}
	s->spare_count = count;
}

void link_stock_trim(struct link_stock *s)
{
	stock_shrink(s, s->free_count - s->spare_count);
}

void link_stock_done(struct link_stock *s)
{
	stock_shrink(s, 0);
}

static uint8_t *stock_take(struct link_stock *s)
{
	void *b = s->free_list;

	if (!b)
		return malloc(LINK_BUFFER_BYTES);
	s->free_list = *(void **)b;
	s->free_count--;
	if (s->spare_count > s->free_count)
		s->spare_count = s->free_count;
	return b;
}

static void stock_give(struct link_stock *s, uint8_t **buffer)
{
	void *b = *buffer;

	*buffer = NULL;
	if (!b)
		return;
	if (s->free_count >= STOCK_KEEP) {
		free(b);
		return;
	}
	*(void **)b = s->free_list;
	s->free_list = b;
	s->free_count++;
}

void link_fail(struct link *l, enum close_reason reason, const char *text)
{
	if (l->state == LINK_BROKEN)
		return;
	l->state = LINK_BROKEN;
	l->ops->failed(l, reason, text);
}

static void link_lost(struct link *l, int error)
{
	link_fail(l, error == ETIMEDOUT ? REASON_PEER_TIMEOUT : REASON_TUNNEL_LOST,
	          error ? strerror(error) : "the peer closed the connection");
}

static void link_shake_hands(struct link *l)
{
	switch (tls_handshake(l->tls)) {
	case TLS_OK:
		loop_timer_clear(l->loop, &l->deadline);
		l->state = LINK_OPEN;
		l->is_rx_ready = true; /* what came behind the handshake announced itself with it */
		l->last_rx = loop_now(l->loop);
		(void)sock_tune_long_tunnel(l->source.fd); /* the handshake has measured the round trip */
		l->ops->up(l);
		return;
	case TLS_WANT_READ:
	case TLS_WANT_WRITE:
		return;
	case TLS_PEER_CLOSED:
	case TLS_FAILED:
		link_fail(l, REASON_CERTIFICATE, tls_session_error(l->tls));
		return;
	}
}

static void link_on_event(struct loop_source *src, uint32_t events)
{
	struct link *l = container_of(src, struct link, source);
	int error;

	switch (l->state) {
	case LINK_CONNECTING:
		if (!(events & (EPOLLOUT | EPOLLERR | EPOLLHUP)))
			return;
		error = sock_error(l->source.fd);
		if (error) {
			link_fail(l, reason_from_errno(error), strerror(error));
			return;
		}
		l->state = LINK_HANDSHAKE;
		link_shake_hands(l);
		return;
	case LINK_HANDSHAKE:
		if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
			l->is_rx_ending = true; /* it comes once, and what is behind the handshake may end with it */
		link_shake_hands(l);
		return;
	case LINK_OPEN:
		if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
			l->is_rx_ready = true;
		if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
			l->is_rx_ending = true;
		if ((events & EPOLLOUT) && l->is_tx_blocked && !l->tx_error) {
			l->is_tx_blocked = false;
			if (link_flush(l))
				return;
		}
		l->ops->wake(l);
		return;
	case LINK_BROKEN:
		return;
	}
}

static void link_on_deadline(struct loop_timer *t)
{
	struct link *l = container_of(t, struct link, deadline);

	link_fail(l, REASON_NO_TUNNEL,
	          l->state == LINK_CONNECTING  ? "no answer to the connection within 10 s"
	          : l->state == LINK_HANDSHAKE ? "the TLS handshake did not end within 10 s"
	                                       : "no HELLO within 10 s of the TLS handshake");
}

int link_create(struct loop *loop, struct link_stock *stock, struct tls_ctx *ctx, int fd, bool is_pending, enum tls_role role,
                const struct link_ops *ops, void *owner, struct link **ret)
{
	struct link *l = calloc(1, sizeof(*l));
	int r;

	if (!l) {
		close(fd);
		return -ENOMEM;
	}
	l->loop = loop;
	l->stock = stock;
	l->ops = ops;
	l->owner = owner;
	l->role = role;
	l->state = is_pending ? LINK_CONNECTING : LINK_HANDSHAKE;
	l->source = (struct loop_source){ .fd = fd, .on_event = link_on_event };
	l->deadline.on_expire = link_on_deadline;
	list_init(&l->rx_entry);
	list_init(&l->tx_entry);
	r = tls_session_create(ctx, fd, role, &l->tls);
	if (r)
		goto fail;
	/* Registering reports at once what is ready already, so the handshake starts from the event. */
	r = loop_add(loop, &l->source, LINK_EVENTS);
	if (r)
		goto fail;
	r = loop_timer_set(loop, &l->deadline, instant_add_ms(loop_now(loop), LINK_HANDSHAKE_MS));
	if (r)
		goto fail;
	*ret = l;
	return 0;
fail:
	loop_remove(loop, &l->source);
	tls_session_destroy(l->tls);
	close(fd);
	free(l);
	return r;
}

static void link_free(struct loop_garbage *g)
{
	free(container_of(g, struct link, garbage));
}

/* Of one that no worker has. */
static void link_dispose(struct link *l)
{
	tls_session_destroy(l->tls);
	close(l->source.fd);
	free(l->rx);
	free(l->tx);
	free(l);
}

void link_destroy(struct link *l, bool is_orderly)
{
	if (!l)
		return;
	if (!l->loop) {
		link_dispose(l);
		return;
	}
	if (is_orderly && l->state == LINK_OPEN && !l->is_tx_blocked) {
		tls_close_notify(l->tls);
		l->control_len += (uint32_t)tls_take_control(l->tls, l->control + l->control_len, sizeof(l->control) - l->control_len);
		/* The last words: where they do not fit, the peer sees an abort, which is what it is. */
		if (l->control_len)
			(void)!send(l->source.fd, l->control, l->control_len, MSG_NOSIGNAL | MSG_DONTWAIT);
	} else if (l->state == LINK_BROKEN && l->tls) {
		/* An alert that says why helps the other end's log. */
		size_t n = tls_take_control(l->tls, l->control, sizeof(l->control));

		if (n)
			(void)!send(l->source.fd, l->control, n, MSG_NOSIGNAL | MSG_DONTWAIT);
	}
	l->state = LINK_BROKEN;
	loop_timer_clear(l->loop, &l->deadline);
	list_remove(&l->rx_entry);
	list_remove(&l->tx_entry);
	tls_session_destroy(l->tls);
	l->tls = NULL;
	loop_close(l->loop, &l->source);
	stock_give(l->stock, &l->rx);
	stock_give(l->stock, &l->tx);
	l->garbage.free_fn = link_free;
	loop_free_later(l->loop, &l->garbage);
}

void link_detach(struct link *l)
{
	loop_remove(l->loop, &l->source);
	loop_timer_clear(l->loop, &l->deadline);
	list_remove(&l->rx_entry);
	list_remove(&l->tx_entry);
	l->loop = NULL;
	l->stock = NULL;
	l->owner = NULL;
}

int link_attach(struct link *l, struct loop *loop, struct link_stock *stock, const struct link_ops *ops, void *owner)
{
	/* Registering reports at once what is ready already. */
	int r = loop_add(loop, &l->source, LINK_EVENTS);

	if (r)
		return r;
	l->loop = loop;
	l->stock = stock;
	l->ops = ops;
	l->owner = owner;
	return 0;
}

bool link_is_of(const struct link *l, const struct tls_ctx *ctx)
{
	return tls_session_is_of(l->tls, ctx);
}

const struct tls_peer *link_peer(const struct link *l)
{
	return tls_session_peer(l->tls);
}

/* --- out --- */

bool link_can_send(const struct link *l)
{
	return l->state == LINK_OPEN && !l->is_tx_blocked;
}

static bool tx_begin(struct link *l)
{
	if (!link_can_send(l))
		return false;
	if (!l->tx) {
		l->tx = stock_take(l->stock);
		if (!l->tx)
			return false;
		l->tx_sent = l->tx_end = l->tx_fill = l->records_count = 0;
	}
	return true;
}

/* Room that is kept free at the end: control bytes that sealing may insert, for each flush. */
static uint32_t tx_limit(void)
{
	return LINK_BUFFER_BYTES - 2 * TLS_CONTROL_MAX;
}

static void record_close(struct link *l)
{
	if (!l->tx_fill)
		return;
	l->records[l->records_count].offset = l->tx_end;
	l->records[l->records_count].len_bytes = l->tx_fill;
	l->records_count++;
	l->tx_end += TLS_HEAD_BYTES + l->tx_fill + TLS_TAIL_BYTES;
	l->tx_fill = 0;
}

/* Does a record of TLS_PLAIN_MAX that begins at tx_end fit? */
static bool record_fits(const struct link *l)
{
	return l->records_count < LINK_RECORDS_MAX - 1 && l->tx_end + LINK_RECORD_BYTES <= tx_limit();
}

size_t link_room(const struct link *l)
{
	uint32_t end;

	if (!link_can_send(l))
		return 0;
	if (!l->tx)
		return LINK_UNIT_BYTES;
	end = l->tx_end + (l->tx_fill ? LINK_RECORD_BYTES : 0);
	if (end + LINK_RECORD_BYTES > tx_limit())
		return 0;
	return (size_t)(tx_limit() - end) / LINK_RECORD_BYTES * FRAME_PAYLOAD_MAX;
}

uint8_t *link_reserve(struct link *l)
{
	if (!tx_begin(l))
		return NULL;
	if (l->tx_fill + FRAME_CONTROL_MAX > TLS_PLAIN_MAX)
		record_close(l);
	if (!record_fits(l))
		return NULL;
	return l->tx + l->tx_end + TLS_HEAD_BYTES + l->tx_fill;
}

void link_commit(struct link *l, size_t len_bytes)
{
	l->tx_fill += (uint32_t)len_bytes;
}

ssize_t link_read_data(struct link *l, int fd, uint32_t stream, uint8_t flags, size_t max_bytes, size_t *ret_wanted)
{
	struct iovec part[LINK_RECORDS_MAX];
	int parts = 0;
	uint32_t record;
	size_t wanted = 0, left;
	ssize_t n;

	if (!tx_begin(l))
		return -ENOBUFS;
	if (l->tx_fill + FRAME_HEAD_BYTES + FRAME_MIN_BYTES > TLS_PLAIN_MAX)
		record_close(l);
	if (!record_fits(l))
		return -ENOBUFS;
	record = l->tx_end;
	for (uint32_t fill = l->tx_fill; wanted < max_bytes; fill = 0) {
		size_t room = TLS_PLAIN_MAX - FRAME_HEAD_BYTES - fill;

		if (record + LINK_RECORD_BYTES > tx_limit() || l->records_count + (uint32_t)parts >= LINK_RECORDS_MAX - 1)
			break;
		if (room > max_bytes - wanted)
			room = max_bytes - wanted;
		part[parts++] = (struct iovec){ l->tx + record + TLS_HEAD_BYTES + fill + FRAME_HEAD_BYTES, room };
		wanted += room;
		record += LINK_RECORD_BYTES;
	}
	*ret_wanted = wanted;
	n = parts == 1 ? recv(fd, part[0].iov_base, part[0].iov_len, 0) : readv(fd, part, parts);
	if (n <= 0)
		return n < 0 ? -errno : 0;
	left = (size_t)n;
	for (int i = 0; left; i++) {
		size_t len = left < part[i].iov_len ? left : part[i].iov_len;

		frame_put_head(l->tx + l->tx_end + TLS_HEAD_BYTES + l->tx_fill, FRAME_DATA, flags, (uint16_t)len, stream);
		l->tx_fill += FRAME_HEAD_BYTES + (uint32_t)len;
		left -= len;
		if (l->tx_fill == TLS_PLAIN_MAX)
			record_close(l);
	}
	return n;
}

/* Bytes that the session itself wants out go before the record at offset; what lies behind moves. */
static bool tx_insert_control(struct link *l, uint32_t offset, uint32_t *ret_shift)
{
	uint8_t *at = l->tx + offset;
	uint32_t n = l->control_len;

	*ret_shift = 0;
	if (!n)
		return true;
	if (l->tx_end + n > LINK_BUFFER_BYTES)
		return false;
	memmove(at + n, at, l->tx_end - offset);
	memcpy(at, l->control, n);
	l->control_len = 0;
	l->tx_end += n;
	*ret_shift = n;
	return true;
}

static void control_take(struct link *l)
{
	l->control_len += (uint32_t)tls_take_control(l->tls, l->control + l->control_len, sizeof(l->control) - l->control_len);
}

static bool tx_seal(struct link *l)
{
	uint32_t shift = 0, moved;

	record_close(l);
	for (uint32_t i = 0; i < l->records_count; i++) {
		uint32_t offset = l->records[i].offset + shift;

		if (tls_seal(l->tls, l->tx + offset, l->records[i].len_bytes) != TLS_OK)
			return false;
		control_take(l);
		if (!tx_insert_control(l, offset, &moved))
			return false;
		shift += moved;
	}
	l->records_count = 0;
	if (l->control_len && !tx_insert_control(l, l->tx_end, &moved))
		return false;
	return true;
}

int link_flush(struct link *l)
{
	if (!link_can_send(l))
		return 0;
	if (l->control_len && !tx_begin(l))
		return 0;
	if (!l->tx)
		return 0;
	if (!tx_seal(l)) {
		link_fail(l, REASON_TUNNEL_LOST, tls_session_error(l->tls));
		return -EIO;
	}
	while (l->tx_sent < l->tx_end) {
		ssize_t n = send(l->source.fd, l->tx + l->tx_sent, l->tx_end - l->tx_sent, MSG_NOSIGNAL);

		if (n < 0) {
			int error = errno;

			if (error == EINTR)
				continue;
			/* Only EAGAIN itself promises an edge of EPOLLOUT; a short count does not, so it is tried again. */
			if (error == EAGAIN) {
				l->is_tx_blocked = true;
				return 0;
			}
			/* What the peer said before it went (an alert, GOAWAY) may still wait to be read: reading finds the end. */
			l->tx_error = error;
			l->is_tx_blocked = l->is_rx_ready = l->is_rx_ending = true;
			stock_give(l->stock, &l->tx);
			l->ops->wake(l);
			return 0;
		}
		l->tx_sent += (uint32_t)n;
		l->tx_bytes += (uint64_t)n;
	}
	stock_give(l->stock, &l->tx);
	return 0;
}

/* --- in --- */

bool link_has_input(const struct link *l)
{
	return l->state == LINK_OPEN && (l->plain || l->is_rx_ready || (l->rx && !l->is_rx_partial));
}

static void rx_compact(struct link *l)
{
	if (l->rx_head == l->rx_tail) {
		stock_give(l->stock, &l->rx);
		l->rx_head = l->rx_tail = 0;
	} else if (l->rx_head) {
		memmove(l->rx, l->rx + l->rx_head, l->rx_tail - l->rx_head);
		l->rx_tail -= l->rx_head;
		l->rx_head = 0;
	}
}

static enum link_result record_next(struct link *l)
{
	size_t used = 0, len = 0;
	uint8_t *plain = NULL;

	if (!l->rx)
		return LINK_EMPTY;
	switch (tls_open(l->tls, l->rx + l->rx_head, l->rx_tail - l->rx_head, &used, &plain, &len)) {
	case TLS_OK:
		control_take(l);
		l->rx_head += (uint32_t)used;
		l->plain = plain;
		l->plain_len = len;
		l->plain_offset = 0;
		return LINK_FRAME;
	case TLS_WANT_READ:
	case TLS_WANT_WRITE:
		l->is_rx_partial = true;
		return LINK_EMPTY;
	case TLS_PEER_CLOSED:
		link_fail(l, REASON_TUNNEL_LOST, "the peer ended the TLS connection");
		return LINK_FAILED;
	case TLS_FAILED:
		link_fail(l, tls_session_is_refused(l->tls) ? REASON_CERTIFICATE : REASON_PROTOCOL, tls_session_error(l->tls));
		return LINK_FAILED;
	}
	return LINK_FAILED;
}

enum link_result link_next_frame(struct link *l, struct frame *ret)
{
	for (;;) {
		enum frame_result r;

		if (l->state != LINK_OPEN)
			return LINK_FAILED;
		if (!l->plain) {
			enum link_result next = record_next(l);

			if (next != LINK_FRAME)
				return next;
		}
		r = frame_next(l->plain, l->plain_len, &l->plain_offset, ret);
		if (r == FRAME_OK)
			return LINK_FRAME;
		if (r != FRAME_AT_END) {
			l->invalid = frame_result_text(r);
			return LINK_INVALID;
		}
		l->plain = NULL;
	}
}

void link_rest(struct link *l)
{
	if (l->rx_head == l->rx_tail)
		rx_compact(l);
}

enum link_result link_receive(struct link *l, size_t max_bytes)
{
	size_t room;
	ssize_t n;

	if (l->state != LINK_OPEN)
		return LINK_FAILED;
	rx_compact(l);
	if (!l->is_rx_ready)
		return LINK_EMPTY;
	if (!l->rx) {
		l->rx = stock_take(l->stock);
		if (!l->rx)
			return LINK_EMPTY; /* tried again in the next turn: is_rx_ready stays */
	}
	room = LINK_BUFFER_BYTES - l->rx_tail;
	if (room > max_bytes)
		room = max_bytes;
	n = recv(l->source.fd, l->rx + l->rx_tail, room, MSG_DONTWAIT);
	if (n <= 0) {
		int error = n ? errno : 0;

		if (n < 0 && error == EINTR)
			return LINK_EMPTY;
		rx_compact(l);
		if (n < 0 && error == EAGAIN) {
			l->is_rx_ready = false;
			return LINK_EMPTY;
		}
		link_lost(l, error ? error : l->tx_error);
		return LINK_FAILED;
	}
	if ((size_t)n < room && !l->is_rx_ending)
		l->is_rx_ready = false;
	l->rx_tail += (uint32_t)n;
	l->is_rx_partial = false;
	l->rx_bytes += (uint64_t)n;
	l->last_rx = loop_now(l->loop);
	return LINK_FRAME;
}
