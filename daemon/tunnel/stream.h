/* SPDX-License-Identifier: GPL-3.0-or-later */
/* stream.h - one pod-to-pod TCP connection as this node sees it: its socket, two halves, its states.
 * Knows its tunnel's entry points, nothing of TLS. A stream lives on one worker; every function here runs in that worker's thread.
 * The state machine is the table in ARCHITECTURE.md: facts come in as events, stream_step finds the next state, stream_set_state acts.
 * How it begins is in admission.h, its two halves are in tx_half.h and rx_half.h. */
#ifndef CULVERT_TUNNEL_STREAM_H
#define CULVERT_TUNNEL_STREAM_H

#include "base/addr.h"
#include "net/loop.h"
#include "tunnel/frame.h"
#include "tunnel/link.h"
#include "tunnel/queue.h"
#include "tunnel/reason.h"
#include "tunnel/schedule.h"
#include "tunnel/window.h"

struct pool;
struct peer;
struct tunnel;

enum {
	/* How long an address may stay unknown: a watch may be 5 s late, and the API server and a busy node need time of their own. */
	STREAM_JUDGE_MS = 10000,
	STREAM_PASS_MS =
		200, /* permissive: so long a SYN that is held waits for a tunnel, and for its addresses to be known, before it passes */
	STREAM_READ_TINY_BYTES =
		4096, /* what is asked of a pod whose last words were fewer: fits one part, and recv is cheaper than readv */
	STREAM_READ_SMALL_BYTES = 40 * 1024, /* one turn of a light stream; also more than STREAM_LARGE_READ_BYTES */
	STREAM_LARGE_READ_BYTES =
		32 * 1024, /* a read that counts as bulk: reads are counted and not bytes, else a fast ping-pong looks like bulk */
	STREAM_BULK_BYTES = 128 * 1024, /* in large reads ... */
	STREAM_BULK_MS = 20,            /* ... within this time: the stream moves to the bulk link */
};

enum stream_role { STREAM_CLIENT_SIDE, STREAM_SERVER_SIDE };

enum stream_state {
	STREAM_WAITING,   /* client side: accepted, or its SYN is held; waits for its addresses to be known and for a tunnel */
	STREAM_OPENING,   /* client side: OPEN is on its way; data may be too, where the client's connection is accepted */
	STREAM_ACCEPTING, /* client side: its SYN was held, the far side is connected; the client's handshake is under way */
	STREAM_JUDGING,   /* server side: OPEN came; its addresses are not known here yet */
	STREAM_DIALING,   /* server side: our connection to the server pod is under way */
	STREAM_OPEN,      /* both sides are connected */
	STREAM_CLOSING,   /* both directions ended in order; the pod has not acknowledged all of it */
	STREAM_CLOSED,    /* the socket is gone; at most its RESET has still to be sent */
	STREAM_STATE_COUNT
};

enum stream_event {
	STREAM_EV_ATTACHED,  /* a tunnel has taken it */
	STREAM_EV_DETACHED,  /* the tunnel never took its OPEN: another may */
	STREAM_EV_UNKNOWN,   /* server side: addresses not known yet */
	STREAM_EV_DIALED,    /* server side: connect() is under way */
	STREAM_EV_CONNECTED, /* server side: connect() is done */
	STREAM_EV_OPENED,    /* client side: the far side is connected, as the client is */
	STREAM_EV_LET_IN,    /* the same, and the client's SYN is held: it may go on */
	STREAM_EV_ACCEPTED,  /* client side: the client's connection is accepted */
	STREAM_EV_ENDED,     /* both directions ended, everything was handed over */
	STREAM_EV_DRAINED,   /* the pod has acknowledged everything */
	STREAM_EV_FAILED,    /* a reason was set: reset */
	STREAM_EVENT_COUNT
};

/* One direction. */
enum half_state {
	HALF_OPEN,
	HALF_DRAINING, /* its end is known but not passed on yet */
	HALF_SHUT,     /* passed on */
};

/* Frames that a stream has still to send; on the light link, but END and RESET, which follow the stream's data. */
enum stream_pending {
	STREAM_SEND_OPEN = 1,
	STREAM_SEND_OPENED = 2,
	STREAM_SEND_SWITCH = 4,
	STREAM_SEND_WINDOW = 8,
	STREAM_SEND_ASK = 16,
	STREAM_SEND_ACCEPT = 32,
	STREAM_SEND_END = 64,
	STREAM_SEND_RESET = 128,
	STREAM_SEND_SILENT = 256,
	STREAM_SEND_TAKEN = 512,
};
#define STREAM_SEND_LAST (STREAM_SEND_END | STREAM_SEND_RESET)

struct stream {
	struct loop_source source; /* the pod's connection; fd -1 once it is closed */
	struct pool *pool;
	struct peer *peer;     /* NULL: not known yet */
	struct tunnel *tunnel; /* NULL: none has it, or the tunnel is done with it */
	struct held *held;     /* the client's SYN; NULL: its connection is accepted, or this is the server's side */
	struct list all;       /* in the pool's list */
	struct list by_remote; /* in one of the pool's buckets */
	struct list place;     /* the pool's unknown, the peer's waiting, or the tunnel's judging list */
	struct stream *hash_next;
	struct schedule_entry turn; /* it has data to send */
	struct list control, last;  /* it has frames to send: on the light link, and behind its data */
	struct list owed;           /* server side: of the pool's acks or its openeds */
	struct list ending;         /* of the pool's ends or ends_due */
	struct loop_timer deadline;
	struct list look; /* in the pool's silence, while it is open */
	struct instant look_at, silent_since;
	struct loop_garbage garbage;

	struct endpoint client, server;
	uint32_t id; /* in its tunnel; 0: none */
	uint8_t role, state, reason;
	uint16_t pending;         /* enum stream_pending */
	uint8_t tx_half, rx_half; /* pod to tunnel, tunnel to pod */
	uint8_t tx_link, rx_link; /* enum frame_link: where data of that direction goes now */
	bool is_read_ready;       /* the pod's socket may have more; edge-triggered */
	bool is_read_small;       /* what it gave last was little: one that asks for little is cheaper */
	bool is_read_ending;      /* an end or an error was announced: a short read is not the last */
	bool is_read_urgent;      /* an urgent byte was announced: a read stops before it, and it is read alone */
	bool is_pod_failed;       /* an error was announced; it shows when all that came before it is read */
	bool is_write_blocked;
	bool is_write_failed; /* the pod takes nothing any more */
	bool is_corked;       /* what it was given last goes with the end that follows */
	bool is_stash_ended;  /* END came on the new link before the SWITCH */
	bool is_announced;    /* the peer knows the id */
	bool is_reset_owed;   /* closed, and counted by the tunnel until the RESET is out */
	bool has_nonce;       /* OPENED has come or gone */
	bool is_pod_silent;   /* it does not answer: silence.h, as the next four */
	bool is_far_silent;   /* the other pod, as the peer says */
	bool is_silenced;     /* so what the pod sends on it is dropped */
	bool is_probed, is_patient;
	uint8_t tries_before; /* of those that are counted, so many say nothing: our own node dropped the answers */
	bool is_optimistic;   /* the client was connected before its server: its data goes before OPENED, which is in no hurry */
	bool is_ack_late; /* server side: the server pod's handshake is not completed before data, or: TAKEN, is_optimistic: OPENED of the next turn */
	bool is_pod_first;  /* the pod ended its direction before the peer's end came */
	bool is_peers_word; /* the reason came from the peer */

	struct window_sender tx;
	struct window_receiver rx;
	uint32_t budgeted_bytes; /* reserved in the budget for rx */
	uint32_t large_bytes;    /* in large reads since large_since */
	struct instant large_since, created;
	uint64_t end_offset; /* of END, while rx_half is HALF_DRAINING or is_stash_ended */
	uint64_t
		urgent_end; /* offset behind the urgent byte that the pod has still to get; 0: none. A later one takes its place, as in TCP */
	struct queue queue;  /* received, not taken by the pod yet */
	struct queue *stash; /* came on the bulk link before the SWITCH; NULL: none */
	size_t stash_urgent; /* so much of it up to and with an urgent byte; 0: none */
	uint8_t nonce[FRAME_NONCE_BYTES], peer_nonce[FRAME_NONCE_BYTES];
	struct frame_cause cause; /* of an attempt that failed; type 0: no ICMP error */
};

void stream_step(struct stream *s, enum stream_event event);
/* Sets the reason and resets: the pod sees RST, the peer a RESET where it knows the stream. */
void stream_fail(struct stream *s, enum close_reason reason);
/* The tunnel is gone: no RESET can be sent. A stream that has all it needs goes on without. */
void stream_tunnel_lost(struct stream *s, enum close_reason reason);
/* The peer says that it never took its OPEN: goes to another tunnel where nothing is lost by that. */
void stream_not_taken(struct stream *s, enum close_reason reason);

/* Facts from the tunnel; those of its data are in rx_half.h. Each may close the stream. */
void stream_on_opened(struct stream *s, const struct frame_opened *m);
void stream_on_reset(struct stream *s, enum close_reason reason);
const char *stream_state_text(enum stream_state state);

/* --- for the files that a stream is made of: admission, tx_half, rx_half --- */
/* In the first state of its role. NULL: no memory. */
struct stream *stream_create(struct pool *pool, enum stream_role role, int fd, const struct endpoint *client,
                             const struct endpoint *server);
/* Closed, and owes nothing any more: last of all. */
void stream_destroy(struct stream *s);
/* Its first credit comes out of the budget. false: the budget is used up. */
bool stream_reserve(struct stream *s);
void stream_set_budgeted(struct stream *s, uint32_t bytes);

#endif
