/* SPDX-License-Identifier: GPL-3.0-or-later */
/* link.h - one TLS connection between two nodes: connecting, handshake, whole records in and out, frames one by one.
 * A tunnel has one link or two. A link knows nothing of streams, windows or what a frame means. It belongs to one worker's loop.
 *
 * Out: frames are put into records that lie behind each other in one buffer, payload is read from a pod's socket straight behind the headers
 * of frames to come; link_flush seals the records in place and sends them with one call. In: one recv fills a buffer, records are opened
 * in place, frames point into it. Buffers come from a stock of the worker, so an idle link holds none; they are plain memory, so one that moves to
 * another worker takes its own along. */
#ifndef CULVERT_TUNNEL_LINK_H
#define CULVERT_TUNNEL_LINK_H

#include "net/loop.h"
#include "tls/tls.h"
#include "tunnel/frame.h"
#include "tunnel/reason.h"

#include <sys/types.h>

enum {
	LINK_RECORD_BYTES = TLS_HEAD_BYTES + TLS_PLAIN_MAX + TLS_TAIL_BYTES, /* 16,290 */
	LINK_UNIT_BYTES = 16 * FRAME_PAYLOAD_MAX,      /* 260,160: the largest amount that one turn moves, 4 packet trains of 4 records */
	LINK_UNIT_SMALL_BYTES = 3 * FRAME_PAYLOAD_MAX, /* 48,780: while light traffic is there, so that it waits less */
	LINK_BUFFER_BYTES = 18 * LINK_RECORD_BYTES + TLS_RECORD_MAX, /* a unit, frames beside it, and a record that is not whole yet */
	LINK_RECORDS_MAX = 64,
	LINK_HANDSHAKE_MS = 10000, /* a peer that has not finished by then is gone */
};

/* A worker's stock of buffers of LINK_BUFFER_BYTES. */
struct link_stock {
	void *free_list;
	uint32_t free_count;
	uint32_t spare_count; /* of these were not needed since the last link_stock_trim */
};
void link_stock_init(struct link_stock *s);
/* Now and then: gives back what was not needed since the last time. */
void link_stock_trim(struct link_stock *s);
void link_stock_done(struct link_stock *s);

struct link;

struct link_ops {
	/* The handshake is done: link_peer says who it is. May close the link. */
	void (*up)(struct link *l);
	/* Something became readable, or may be sent again: the owner calls link_next_frame and link_flush in its turn. */
	void (*wake)(struct link *l);
	/* The connection could not be made, was lost, or its TLS failed; text is one sentence. Called once; the owner destroys the link. */
	void (*failed)(struct link *l, enum close_reason reason, const char *text);
};

enum link_state { LINK_CONNECTING, LINK_HANDSHAKE, LINK_OPEN, LINK_BROKEN };

struct link {
	struct loop_source source; /* owns the descriptor */
	struct loop *loop;
	struct link_stock *stock;
	const struct link_ops *ops;
	void *owner; /* the ops' own; changed when an accepted link finds its tunnel */
	struct tls_session *tls;
	struct loop_timer deadline;
	struct loop_garbage garbage;
	enum link_state state;
	enum tls_role role;
	enum frame_link kind; /* set by the owner when HELLO has said it */
	bool is_rx_ready;     /* the socket may have more; edge-triggered */
	bool is_rx_ending;    /* an end or an error was announced: read until it comes */
	bool is_rx_partial;   /* what is buffered is less than a record */
	bool is_tx_blocked;   /* the socket is full; EPOLLOUT will come */
	bool has_sent_hello, has_hello;
	struct list rx_entry, tx_entry; /* the pool's lists of links that have work */

	uint8_t *rx; /* NULL: nothing buffered */
	uint32_t rx_head, rx_tail;
	const uint8_t *plain; /* the record in hand, inside rx */
	size_t plain_len, plain_offset;
	const char *invalid; /* set with LINK_INVALID */

	uint8_t *tx;                       /* NULL: nothing buffered */
	uint32_t tx_sent, tx_end, tx_fill; /* sent up to, closed records up to, plaintext in the open record that begins at tx_end */
	uint32_t records_count;
	struct {
		uint32_t offset, len_bytes;
	} records[LINK_RECORDS_MAX]; /* closed, not sealed yet */
	uint8_t control[TLS_CONTROL_MAX];
	uint32_t control_len;

	int tx_error;                /* errno of a send; the end is reported once all that the peer said before is read */
	struct instant last_rx;      /* anything that came from the peer */
	uint64_t rx_bytes, tx_bytes; /* on the wire */
};

/* Takes fd, a connected socket or one that is connecting (is_pending); closes it also on an error. Takes a reference of ctx. The deadline of LINK_HANDSHAKE_MS begins.
 * 0 or -errno. */
int link_create(struct loop *loop, struct link_stock *stock, struct tls_ctx *ctx, int fd, bool is_pending, enum tls_role role,
                const struct link_ops *ops, void *owner, struct link **ret);
/* Off the loop and out of the rx and tx lists now, memory at the end of the batch. is_orderly: a close_notify goes out first if there is room for it.
 * One that has no loop is gone at once. */
void link_destroy(struct link *l, bool is_orderly);
const struct tls_peer *link_peer(const struct link *l);
/* An open link leaves its worker, with all that it has: off the loop, no deadline, no owner. Its callback that runs must not touch it again. */
void link_detach(struct link *l);
/* And belongs to another one. 0, or -errno: it still has no loop. */
int link_attach(struct link *l, struct loop *loop, struct link_stock *stock, const struct link_ops *ops, void *owner);
/* Was its session made with ctx? */
bool link_is_of(const struct link *l, const struct tls_ctx *ctx);

/* --- out --- */
/* May frames be put now? */
bool link_can_send(const struct link *l);
/* Space for one control frame of at most FRAME_CONTROL_MAX bytes; NULL: the buffer is full, flush first. Then link_commit says its length. */
uint8_t *link_reserve(struct link *l);
void link_commit(struct link *l, size_t len_bytes);
/* Reads up to max_bytes from fd, a socket, into DATA frames of stream, with these flags. Returns what readv returned (or -errno); -ENOBUFS: no room, flush first. *ret_wanted is
 * how much was asked for: less returned means that the socket is empty for now. */
ssize_t link_read_data(struct link *l, int fd, uint32_t stream, uint8_t flags, size_t max_bytes, size_t *ret_wanted);
/* Payload bytes that can still be put before a flush. */
size_t link_room(const struct link *l);
/* Seals and sends all that was put. 0, also where the socket took only a part (is_tx_blocked), or -errno after which ops->failed has been called. */
int link_flush(struct link *l);

/* --- in --- */
enum link_result {
	LINK_FRAME,   /* *ret is a frame; its payload is valid until the next link_receive */
	LINK_EMPTY,   /* no whole record there: link_receive */
	LINK_INVALID, /* the peer broke the framing: l->invalid says how; the owner answers and closes */
	LINK_FAILED,  /* ops->failed has been called */
};
enum link_result link_next_frame(struct link *l, struct frame *ret);
/* One recv of at most max_bytes; only after LINK_EMPTY. LINK_FRAME: go on with link_next_frame; LINK_EMPTY: nothing there now. */
enum link_result link_receive(struct link *l, size_t max_bytes);
/* Nothing that came is looked at any more: where nothing is left, the buffer goes back to the stock. */
void link_rest(struct link *l);
/* Is there something that link_next_frame or link_receive could give without waiting? */
bool link_has_input(const struct link *l);
/* For the owner, where it finds that the peer is not what it must be: calls ops->failed. */
void link_fail(struct link *l, enum close_reason reason, const char *text);

#endif
