/* SPDX-License-Identifier: GPL-3.0-or-later */
/* mailbox.h - the only road between threads: a queue with an eventfd, of typed messages.
 * Any thread posts; the thread of the loop receives, in the order of posting. */
#ifndef CULVERT_NET_MAILBOX_H
#define CULVERT_NET_MAILBOX_H

#include "base/list.h"
#include "net/loop.h"

struct mailbox;

/* Embedded first in a message; the type's numbers belong to the receiver's module. */
struct message {
	struct list link; /* mailbox's own */
	int type;
	void (*destroy)(struct message *m); /* called where a message is never delivered */
};

/* on_message owns m from then on. 0 or -errno. */
int mailbox_create(struct loop *loop, void (*on_message)(void *ctx, struct message *m), void *ctx, struct mailbox **ret);
/* Destroys messages that were not delivered; NULL is welcome. Not from on_message. No thread may post any more. */
void mailbox_destroy(struct mailbox *mb);
/* Takes m. Never blocks on anything but a short lock, never fails. */
void mailbox_post(struct mailbox *mb, struct message *m);

#endif
