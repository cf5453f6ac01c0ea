/* SPDX-License-Identifier: GPL-3.0-or-later */
/* bulk.h - tunnels of two links in tests, and a stream that moves from the light one to the bulk one. */
#ifndef CULVERT_TESTS_UNIT_TUNNEL_BULK_H
#define CULVERT_TESTS_UNIT_TUNNEL_BULK_H

#include "pair.h"

/* Conditions for pair_pump. ctx: the side; the stream. */
bool bulk_is_up(void *ctx);      /* its first tunnel has a bulk link */
bool bulk_has_stream(void *ctx); /* what it sends goes there */

/* One more large read, and the stream is bulk. */
void bulk_is_next(struct stream *s);
/* A stream on a tunnel of two links that has carried 100 bytes and moves over with its next large read; node 2 hears nothing on the light link
 * from now on, until bulk_hear_light. */
void bulk_deafen_light(struct pair *p, int *ret_client, int *ret_server);
void bulk_hear_light(struct pair *p);

#endif
