/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Requests of the status socket, as its clients send them: lengths, messages, and the answers to those that are understood. */
#include "target.h"

#include "base/delimited.h"
#include "status/message.h"

#include <stdlib.h>
#include <string.h>

/* Texts in the answer are foreign too. */
static void answer(const struct status_query *q, const uint8_t *data, size_t size)
{
	char text[256];
	struct snapshot_peer peer = { .addresses_count = 1 };
	struct snapshot_stream stream = { 0 };
	struct snapshot_ended ended = { 0 };
	struct snapshot s = { .node = text,
		              .reason = text,
		              .peers_count = 1,
		              .peers = &peer,
		              .streams_count = 1,
		              .streams = &stream,
		              .ended_count = 1,
		              .ended_streams = &ended };
	uint8_t *bytes;
	size_t len = size < sizeof(text) - 1 ? size : sizeof(text) - 1, len_bytes;

	memcpy(text, data, len);
	text[len] = '\0';
	memcpy(peer.name, q->peer, sizeof(peer.name));
	memcpy(stream.peer, q->peer, sizeof(stream.peer));
	memcpy(ended.peer, q->peer, sizeof(ended.peer));
	memcpy(ended.cause, text, sizeof(ended.cause) - 1);
	memcpy(peer.last_error, text, sizeof(text));
	if (!status_message_put(q, &s, &bytes, &len_bytes))
		free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t at = 0;

	while (at < size) {
		char error[STATUS_ERROR_BYTES];
		struct status_query q;
		uint32_t body;
		int head = delimited_get(data + at, size - at, &body);

		if (head <= 0 || body > STATUS_REQUEST_MAX || body > size - at - (size_t)head)
			break;
		at += (size_t)head;
		if (!status_message_get(data + at, body, &q, error)) {
			if (q.what >= STATUS_WHAT_COUNT || !q.limit || q.limit > STATUS_STREAMS_MAX ||
			    strnlen(q.peer, sizeof(q.peer)) == sizeof(q.peer))
				abort();
			answer(&q, data, size);
		}
		at += body;
	}
	return 0;
}
