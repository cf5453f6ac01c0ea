/* SPDX-License-Identifier: GPL-3.0-or-later */
/* carry.h - bytes that the pods of a pair send each other in tests, where only their number counts. A step that does not come fails the test. */
#ifndef CULVERT_TESTS_UNIT_TUNNEL_CARRY_H
#define CULVERT_TESTS_UNIT_TUNNEL_CARRY_H

#include "talk.h"

#include <stddef.h>
#include <stdint.h>

void carry_send(int fd, size_t len_bytes);
/* Reads so many. */
void carry_expect(struct pair *p, int fd, size_t total_bytes);
/* From one descriptor to the other, a little at a time. */
void carry_bytes(struct pair *p, int from, int to, size_t total_bytes);

/* A condition for pair_pump, ctx is a struct carry_sent: the stream has given its tunnel so many bytes. */
struct carry_sent {
	const struct stream *stream;
	uint64_t bytes;
};

bool carry_has_sent(void *ctx);

#endif
