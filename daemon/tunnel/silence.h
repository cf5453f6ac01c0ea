/* SPDX-License-Identifier: GPL-3.0-or-later */
/* silence.h - pods that vanish without a word, and who finds out.
 * A pod's packets are acknowledged by its own node, which goes on doing so when the other pod is gone: that pod's node sends again, or probes,
 * in vain. So each node looks at what its kernel knows of each pod's connection, some seconds apart, and tells the other (SILENT); there, what
 * the pod sends on this stream is dropped until the silent one answers, so that its keepalives, retransmissions and timeouts count as they
 * would with nobody between.
 *
 * What our own node drops says nothing of our pod: while it does, that pod is not judged, and while a pod is silent, nothing of it is dropped.
 * Else two nodes could keep both pods silent for ever. Nor is anything dropped while the pod has not acknowledged all that it was sent.
 *
 * The cost: a system call every 5 s for a stream that lives so long, and one more in its life, and a probe every 20 s for one that is idle.
 * A stream's part is in struct stream. Thread: the worker's. */
#ifndef CULVERT_TUNNEL_SILENCE_H
#define CULVERT_TUNNEL_SILENCE_H

#include "base/list.h"
#include "net/loop.h"
#include "tunnel/stream.h"

struct pool;

enum {
	SILENCE_LOOK_MS = 5000,
	SILENCE_LOOK_AGAIN_MS = 1000, /* where one of the two pods is silent */
	SILENCE_TRIES = 3,            /* in vain: one or two are ordinary loss */
	/* Both pods silent for so long: nobody is left whose patience could decide. As long as TCP waits for an acknowledgement (tcp_retries2). */
	SILENCE_BOTH_MS = 15 * 60 * 1000,
};

struct silence {
	struct list seldom, often; /* streams, in the order in which they are looked at */
	struct loop_timer timer;
	bool is_armed;
};

void silence_init(struct pool *p);
void silence_done(struct pool *p);

/* The stream is open; it is not any more. The second is harmless without the first. */
void silence_begin(struct stream *s);
void silence_end(struct stream *s);
/* The peer says it of its pod. */
void silence_hear(struct stream *s, bool is_silent);

/* For silence_speak. */
void silence_lift(struct stream *s);
/* Before anything is sent to our pod: it must be able to acknowledge it. */
static inline void silence_speak(struct stream *s)
{
	if (s->is_silenced)
		silence_lift(s);
}

#endif
