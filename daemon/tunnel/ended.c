/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tunnel/ended.h"

#include "tunnel/peer.h"
#include "tunnel/stream.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static const char *const by_names[] = {
	[ENDED_BY_CLIENT] = "client", [ENDED_BY_SERVER] = "server", [ENDED_BY_NETWORK] = "network",
	[ENDED_BY_NODE] = "node",     [ENDED_BY_PEER] = "peer",
};
static_assert(sizeof(by_names) / sizeof(by_names[0]) == ENDED_BY_COUNT, "who ends a stream has no name");

const char *ended_by_text(enum ended_by by)
{
	return by < ENDED_BY_COUNT ? by_names[by] : "?";
}

static enum ended_by by_of(const struct stream *s)
{
	bool is_client_here = s->role == STREAM_CLIENT_SIDE;
	bool is_ours = s->reason == REASON_FINISHED ? s->is_pod_first : !s->is_peers_word;

	switch ((enum close_reason)s->reason) {
	case REASON_FINISHED:
	case REASON_POD_RESET:
	case REASON_REFUSED:
	case REASON_TIMED_OUT:
	case REASON_CLIENT_GONE:
		return is_ours == is_client_here ? ENDED_BY_CLIENT : ENDED_BY_SERVER;
	case REASON_HOST_UNREACHABLE:
	case REASON_NET_UNREACHABLE:
	case REASON_PROHIBITED:
		return ENDED_BY_NETWORK;
	default:
		return is_ours ? ENDED_BY_NODE : ENDED_BY_PEER;
	}
}

const struct ended *ended_note(struct ended_log *l, const struct stream *s, uint8_t state, struct instant now)
{
	struct ended *e = &l->kept[s->reason][l->total[s->reason]++ % ENDED_KEPT];

	*e = (struct ended){
		.client = s->client,
		.server = s->server,
		.id = s->id,
		.is_client_side = s->role == STREAM_CLIENT_SIDE,
		.state = state,
		.reason = s->reason,
		.by = (uint8_t)by_of(s),
		.cause = s->cause,
		.created = s->created,
		.ended = now,
		.sent_bytes = s->tx.sent,
		.received_bytes = s->rx.delivered,
	};
	if (s->peer)
		snprintf(e->peer, sizeof(e->peer), "%s", s->peer->name);
	return e;
}

const struct ended *ended_at(const struct ended_log *l, enum close_reason reason, size_t i)
{
	uint64_t total = l->total[reason];

	return i < ENDED_KEPT && i < total ? &l->kept[reason][(total - 1 - i) % ENDED_KEPT] : NULL;
}

const char *ended_cause_print(const struct frame_cause *cause, char text[ENDED_CAUSE_BYTES])
{
	char from[ADDR_TEXT_BYTES];

	text[0] = '\0';
	if (cause->type)
		snprintf(text, ENDED_CAUSE_BYTES, "ICMP %u/%u from %s", cause->type, cause->code, addr_print(&cause->from, from));
	return text;
}
