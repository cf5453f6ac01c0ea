/* SPDX-License-Identifier: GPL-3.0-or-later */
/* server.h - the status socket: takes requests of proto/status.proto, has its owner collect a snapshot, sends the answer.
 * Knows nothing of where the figures come from. Thread: that of the loop, for everything here.
 *
 * Collecting is asynchronous, because workers answer by mailbox: the owner is called with a status_reply and completes it later in the same thread. A client that goes away
 * meanwhile, or an answer that comes after the deadline, is harmless: the reply belongs to the owner until it is completed. */
#ifndef CULVERT_STATUS_SERVER_H
#define CULVERT_STATUS_SERVER_H

#include "net/loop.h"
#include "status/snapshot.h"

#include <stdbool.h>
#include <stdint.h>

enum {
	STATUS_REQUEST_MAX = 64 * 1024,
	STATUS_CLIENTS_MAX = 32,
	STATUS_DEADLINE_MS = 5000, /* to send a request; to collect; to take an answer: for each of them */
	STATUS_STREAMS_DEFAULT = 1000,
	STATUS_STREAMS_MAX = 65536,
	STATUS_ERROR_BYTES = 256,
};

/* What is asked for, and what of the snapshot must be filled for it. The head of the snapshot (now_s, node ... mode, is_ready, reason) always. */
enum status_what {
	STATUS_STATUS,       /* all but peers, streams and certificates; of those certificates.not_after_s */
	STATUS_PEERS,        /* peers */
	STATUS_STREAMS,      /* streams, streams_matching */
	STATUS_ENDED,        /* ended_streams, streams_matching */
	STATUS_CERTIFICATES, /* certificates */
	STATUS_CHECK,        /* certificates, reloads, devices, counters */
	STATUS_COUNTERS,     /* counters */
	STATUS_WHAT_COUNT
};

struct status_query {
	enum status_what what;
	char peer[SNAPSHOT_NODE_BYTES]; /* "": all; peers of other names and their streams are left out of the answer */
	uint32_t limit;                 /* of streams; 1..STATUS_STREAMS_MAX */
};

struct status_reply;
struct status_server;

struct status_ops {
	/* q lives until r is completed. r may be completed before it returns, and must be once, by status_reply_done or status_reply_fail: also after
	 * status_server_destroy. */
	void (*collect)(void *ctx, const struct status_query *q, struct status_reply *r);
};

/* Answers, and frees r. */
void status_reply_done(struct status_reply *r, const struct snapshot *s);
/* code and text: see Error in proto/status.proto. */
void status_reply_fail(struct status_reply *r, const char *code, const char *text);

/* Listens at path with mode 0660. A socket file that is there is replaced where nobody answers on it; -EADDRINUSE where somebody does, -EEXIST where it is something else than
 * a socket. 0 or -errno, with a sentence in error. */
int status_server_create(struct loop *loop, const char *path, const struct status_ops *ops, void *ctx, struct status_server **ret,
                         char error[STATUS_ERROR_BYTES]);
/* Closes all clients and removes the socket's file, where it is still ours. NULL is welcome. */
void status_server_destroy(struct status_server *s);

#endif
