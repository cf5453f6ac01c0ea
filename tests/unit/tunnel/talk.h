/* SPDX-License-Identifier: GPL-3.0-or-later */
/* talk.h - what the pods of a pair say to each other in tests: connections, texts, ends. A step that does not come fails the test. */
#ifndef CULVERT_TESTS_UNIT_TUNNEL_TALK_H
#define CULVERT_TESTS_UNIT_TUNNEL_TALK_H

#include "pair.h"

#include <sys/types.h>

/* Conditions for pair_pump. ctx: the side; the pair; the side. */
bool talk_has_come(void *ctx);   /* a server pod of it has a connection that was not taken yet */
bool talk_is_over(void *ctx);    /* no pool has a stream */
bool talk_is_dialing(void *ctx); /* the only stream of it is about to reach its server */

/* A client pod of side from and its server's end. */
void talk_open(struct pair *p, int from, const char *client, const char *server, int *ret_client, int *ret_server);
/* Both close, in this order, and no stream is left. */
void talk_end(struct pair *p, int first, int second);
/* Until something can be read: 1, 0 at the end, or a negative errno, which the kernel says only once. */
ssize_t talk_wait(struct pair *p, int fd);
void talk_say(int fd, const char *text);
/* Reads exactly that. */
void talk_expect(struct pair *p, int fd, const char *text);
/* The only stream of a side. */
struct stream *talk_stream(const struct side *s);
/* Closes by a reset. */
void talk_reset(int fd);

#endif
