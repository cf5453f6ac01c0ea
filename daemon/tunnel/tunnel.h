/* SPDX-License-Identifier: GPL-3.0-or-later */
/* tunnel.h - one mutual-TLS tunnel to one node: its links, its states, its streams, its credit.
 * Light traffic and all control frames use the light link; a bulk link is made when a stream proves to be bulk. A tunnel belongs to one
 * worker; every function here runs in that worker's thread. docs/protocol.md is the specification. */
#ifndef CULVERT_TUNNEL_TUNNEL_H
#define CULVERT_TUNNEL_TUNNEL_H

#include "tunnel/link.h"
#include "tunnel/schedule.h"
#include "tunnel/stream.h"

struct pool;
struct peer;

enum {
	TUNNEL_BUCKETS = 16,               /* of the table of streams, at first; it grows with them */
	TUNNEL_STREAMS_MAX = 65536,        /* that a peer may have open at once on one tunnel */
	TUNNEL_JUDGING_MAX = 1024,         /* OPENs of a peer that may wait for our view */
	TUNNEL_RESETS_MAX = 8192,          /* refusals that may wait for a peer that takes none, and opens more */
	TUNNEL_CREDIT_MIN_BYTES = 4 << 20, /* all streams of a tunnel together, or twice what they were granted */
	TUNNEL_PING_MS = 3000,             /* silence after which a tunnel with streams is asked whether it lives */
	TUNNEL_PING_IDLE_MS = 30000,       /* the same without streams */
	TUNNEL_SUSPECT_MS = 10000,         /* no answer for so long: suspect */
	TUNNEL_LAST_ID = 0x7ffffffe,       /* above it a tunnel takes no more streams: GOAWAY, and a new one */
};

enum tunnel_state {
	TUNNEL_CONNECTING, /* TCP, TLS, HELLO */
	TUNNEL_UP,
	TUNNEL_SUSPECT,  /* does not answer: new streams go elsewhere or wait, old ones stay */
	TUNNEL_DRAINING, /* one side said GOAWAY: streams live on, none begins */
	TUNNEL_CLOSED,
	TUNNEL_STATE_COUNT
};

/* What goes before a link's data, once each. */
enum tunnel_pending {
	TUNNEL_SEND_GOAWAY = 1,
	TUNNEL_SEND_PING = 2,
	TUNNEL_SEND_PONG = 4,
	TUNNEL_SEND_CREDIT = 8,
	TUNNEL_SEND_PAIR = 16,
};

struct tunnel {
	struct pool *pool;
	struct peer *peer;
	struct list entry; /* in the peer's list */
	struct loop_garbage garbage;
	enum tunnel_state state;
	enum close_reason drain_reason;
	bool is_drain_due;     /* as soon as it is up, with drain_reason */
	bool has_goaway;       /* the peer said it: no more OPEN comes */
	bool is_initiator;     /* we made the connection: our ids are odd, and the bulk link is ours to make */
	bool has_taken_switch; /* a stream of the peer is on the bulk link: without that link the tunnel is lost */
	uint8_t pending;
	uint8_t id[16];
	uint64_t generation;  /* of the certificates that it was made with */
	int64_t expires_s;    /* Unix time: the end of our or the peer's certificate, what is earlier */
	struct link *link[2]; /* by enum frame_link */
	struct schedule turns[2];
	struct list control; /* streams with frames for the light link */
	struct list last[2]; /* streams with END or RESET, by the link of their data */
	struct list judging;
	uint32_t judging_count;
	struct instant state_since, idle_since, bulk_retry;
	char certificate_name[TLS_NAME_BYTES + 4], serial[64]; /* the peer's; the name with its type, "URI:..." */

	struct stream **buckets;
	uint32_t buckets_count; /* a power of two */
	uint32_t streams_count, peer_streams_count;
	uint32_t resets_count; /* closed ones among them whose RESET has still to go */
	uint32_t next_id, peer_highest_id;
	uint64_t streams_total;

	/* from HELLO */
	uint64_t incarnation, features;
	uint32_t peer_initial_credit, peer_streams_max;

	/* the tunnel's own credit */
	uint64_t tx_sent, tx_limit;
	uint64_t rx_received, rx_consumed, rx_limit;
	uint64_t budgeted_bytes;    /* the sum over its streams */
	uint32_t window_largest[2]; /* that a stream used: in this second, in the last */

	/* ping */
	uint64_t ping_token, pong_token;
	struct instant ping_sent;
	bool is_ping_out;
	uint64_t rx_at_ping; /* rx_received when it went out */
	bool is_silent;      /* it gets no answer: for what is sent the kernel has tried several times, or it is suspect */
	bool is_patient;     /* a link's socket probes slowly: see sock_tune_silent_tunnel */
	uint32_t rtt_us;     /* smoothed; 0: not measured yet */
};

/* Begins a tunnel to a peer over fd, a socket that is connecting. 0 or -errno; fd is taken either way. */
int tunnel_connect(struct peer *p, int fd, bool is_pending);
/* An accepted link said HELLO as the light link of a new tunnel of p. Takes l. 0 or -ENOMEM. */
int tunnel_accept(struct peer *p, struct link *l, const struct frame_hello *hello);
/* An accepted link said HELLO as the bulk link of t. Takes l. false: it has one, or is not of this peer. */
bool tunnel_take_bulk(struct tunnel *t, struct link *l);

/* May a new stream use it? */
bool tunnel_takes_streams(const struct tunnel *t);
static inline uint64_t tunnel_send_room(const struct tunnel *t)
{
	return t->tx_limit - t->tx_sent;
}
/* There is something to send on the link of that kind: it gets a turn. */
void tunnel_want_send(struct tunnel *t, enum frame_link kind);
/* A stream of it is bulk. */
void tunnel_want_bulk(struct tunnel *t);
bool tunnel_has_bulk(const struct tunnel *t);

/* Once a second. May close it. */
void tunnel_tick(struct tunnel *t, struct instant now, int64_t unix_now_s);
/* Would ctx take its peer? Else closes it. */
bool tunnel_is_trusted(struct tunnel *t, const struct tls_ctx *ctx);
/* GOAWAY: no new streams either way; closed when the last one ends. */
void tunnel_drain(struct tunnel *t, enum close_reason reason);
/* Ends it now; its streams are reset with the reason. text: for the log. */
void tunnel_close(struct tunnel *t, enum close_reason reason, const char *text);
/* Draining, nothing can come any more, and the peer has all that was sent: it may be closed. */
bool tunnel_is_over(const struct tunnel *t);
const char *tunnel_state_text(enum tunnel_state state);

/* For inbound.c: HELLO has come on the light link; something came from a peer that was suspect. */
void tunnel_up(struct tunnel *t, const struct frame_hello *hello);
void tunnel_answers_again(struct tunnel *t);

extern const struct link_ops tunnel_link_ops;

#endif
