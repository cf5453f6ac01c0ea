/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tunnel/frame.h"

#include "tunnel.pb-c.h"

#include <assert.h>
#include <string.h>

enum {
	MESSAGE_MAX = FRAME_CONTROL_MAX - FRAME_HEAD_BYTES,
	END_BYTES = 8,
	RESET_BYTES = 10,
	SWITCH_BYTES = 9,
	WINDOW_BYTES = 16,
	PING_BYTES = 8,
	GOAWAY_BYTES = 6,                  /* and text */
	PAIR_BYTES = 5 + FRAME_HASH_BYTES, /* as the first version says it */
	PAIR_WHOLE_BYTES = PAIR_BYTES + 8, /* and what a later version says behind it */
	CAUSE_BYTES = 18,
	SILENT_BYTES = 1,
	INITIAL_CREDIT_MAX = 1 << 30,
	/* Room for decoding one message. What a peer can fill is bounded by its length; 64 fields fit several times over, and more is refused. */
	ARENA_BYTES = 16 * 1024,
};

/* Absolute offsets stay below it, so that no sum of two overflows. */
#define OFFSET_MAX (UINT64_MAX >> 1)

static const char *const result_texts[] = {
	[FRAME_OK] = "ok",
	[FRAME_AT_END] = "no more frames in the record",
	[FRAME_TRUNCATED] = "a frame passes the end of its record",
	[FRAME_UNKNOWN_TYPE] = "a frame of unknown type that may not be ignored",
	[FRAME_UNKNOWN_FLAG] = "a frame with an unknown flag that may not be ignored",
	[FRAME_BAD_LENGTH] = "a frame whose length its type does not allow",
	[FRAME_BAD_STREAM] = "a frame whose stream id its type does not allow",
	[FRAME_BAD_MESSAGE] = "a control message that does not parse or has a value out of range",
};
static_assert(sizeof(result_texts) / sizeof(result_texts[0]) == FRAME_BAD_MESSAGE + 1, "a result has no text");

const char *frame_result_text(enum frame_result r)
{
	return (size_t)r < sizeof(result_texts) / sizeof(result_texts[0]) ? result_texts[r] : "?";
}

/* --- headers --- */

enum stream_rule { STREAM_UNKNOWN, STREAM_NEVER, STREAM_ALWAYS, STREAM_EITHER };

static const struct {
	uint16_t min_bytes, max_bytes; /* of the payload */
	uint8_t flags;                 /* critical ones that are known */
	uint8_t stream;                /* enum stream_rule; unknown: the type is */
} rules[] = {
	[FRAME_HELLO] = { 1, MESSAGE_MAX, 0, STREAM_NEVER },
	[FRAME_OPEN] = { 1, MESSAGE_MAX, 0, STREAM_ALWAYS },
	[FRAME_OPENED] = { 1, MESSAGE_MAX, 0, STREAM_ALWAYS },
	/* Empty DATA would be work for nothing, and costs its sender no credit. */
	[FRAME_DATA] = { 1, UINT16_MAX, 0, STREAM_ALWAYS },
	[FRAME_END] = { END_BYTES, END_BYTES, 0, STREAM_ALWAYS },
	[FRAME_RESET] = { RESET_BYTES, RESET_BYTES, 0, STREAM_ALWAYS },
	[FRAME_SWITCH] = { SWITCH_BYTES, SWITCH_BYTES, 0, STREAM_ALWAYS },
	[FRAME_WINDOW] = { WINDOW_BYTES, WINDOW_BYTES, FRAME_WINDOW_ASK | FRAME_WINDOW_ACCEPT, STREAM_EITHER },
	[FRAME_PING] = { PING_BYTES, PING_BYTES, FRAME_PING_ANSWER, STREAM_NEVER },
	[FRAME_GOAWAY] = { GOAWAY_BYTES, GOAWAY_BYTES + FRAME_TEXT_MAX, 0, STREAM_NEVER },
	[FRAME_TAKEN] = { 0, 0, 0, STREAM_ALWAYS },
	[FRAME_PAIR] = { PAIR_BYTES, MESSAGE_MAX, 0, STREAM_NEVER },
	[FRAME_CAUSE] = { CAUSE_BYTES, CAUSE_BYTES, 0, STREAM_ALWAYS },
	[FRAME_SILENT] = { SILENT_BYTES, SILENT_BYTES, 0, STREAM_ALWAYS },
};

static uint16_t get_u16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get_u32(const uint8_t *p)
{
	return (uint32_t)get_u16(p) << 16 | get_u16(p + 2);
}

static uint64_t get_u64(const uint8_t *p)
{
	return (uint64_t)get_u32(p) << 32 | get_u32(p + 4);
}

static void put_u16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void put_u32(uint8_t *p, uint32_t v)
{
	put_u16(p, (uint16_t)(v >> 16));
	put_u16(p + 2, (uint16_t)v);
}

static void put_u64(uint8_t *p, uint64_t v)
{
	put_u32(p, (uint32_t)(v >> 32));
	put_u32(p + 4, (uint32_t)v);
}

static enum frame_result frame_check(const struct frame *f)
{
	if (f->type >= sizeof(rules) / sizeof(rules[0]) || rules[f->type].stream == STREAM_UNKNOWN)
		return FRAME_UNKNOWN_TYPE;
	if (f->flags & FRAME_FLAGS_CRITICAL & ~rules[f->type].flags)
		return FRAME_UNKNOWN_FLAG;
	if (f->len_bytes < rules[f->type].min_bytes || f->len_bytes > rules[f->type].max_bytes)
		return FRAME_BAD_LENGTH;
	if (rules[f->type].stream == (f->stream ? STREAM_NEVER : STREAM_ALWAYS))
		return FRAME_BAD_STREAM;
	return FRAME_OK;
}

enum frame_result frame_next(const uint8_t *record, size_t len_bytes, size_t *offset, struct frame *ret)
{
	while (*offset < len_bytes) {
		const uint8_t *head = record + *offset;
		size_t left = len_bytes - *offset;
		enum frame_result r;
		struct frame f;

		if (left < FRAME_HEAD_BYTES)
			return FRAME_TRUNCATED;
		f = (struct frame){ .type = head[0],
			            .flags = head[1],
			            .len_bytes = get_u16(head + 2),
			            .stream = get_u32(head + 4),
			            .payload = head + FRAME_HEAD_BYTES };
		if (f.len_bytes > left - FRAME_HEAD_BYTES)
			return FRAME_TRUNCATED;
		r = frame_check(&f);
		if (r == FRAME_UNKNOWN_TYPE && f.type & FRAME_TYPE_IGNORABLE) {
			*offset += FRAME_HEAD_BYTES + (size_t)f.len_bytes;
			continue;
		}
		if (r != FRAME_OK)
			return r;
		*offset += FRAME_HEAD_BYTES + (size_t)f.len_bytes;
		*ret = f;
		return FRAME_OK;
	}
	return FRAME_AT_END;
}

void frame_put_head(uint8_t *dst, uint8_t type, uint8_t flags, uint16_t len_bytes, uint32_t stream)
{
	dst[0] = type;
	dst[1] = flags;
	put_u16(dst + 2, len_bytes);
	put_u32(dst + 4, stream);
}

/* --- protobuf without the heap: a message is bounded, so is what its decoding needs, and an OPEN costs no malloc --- */

struct arena {
	size_t used_bytes;
	_Alignas(max_align_t) uint8_t bytes[ARENA_BYTES];
};

static void *arena_alloc(void *ctx, size_t size)
{
	struct arena *a = ctx;
	size_t need = (size + _Alignof(max_align_t) - 1) & ~(_Alignof(max_align_t) - 1);
	void *p = a->bytes + a->used_bytes;

	if (size > ARENA_BYTES || need > ARENA_BYTES - a->used_bytes)
		return NULL;
	a->used_bytes += need;
	return p;
}

static void arena_free(void *ctx, void *p)
{
	(void)ctx;
	(void)p;
}

/* The message lies in the arena. NULL: it does not parse. */
static void *message_unpack(struct arena *a, const ProtobufCMessageDescriptor *descriptor, const struct frame *f)
{
	ProtobufCAllocator allocator = { .alloc = arena_alloc, .free = arena_free, .allocator_data = a };

	a->used_bytes = 0;
	return protobuf_c_message_unpack(descriptor, &allocator, f->len_bytes, f->payload);
}

static size_t message_put(uint8_t *dst, uint8_t type, uint32_t stream, const ProtobufCMessage *m)
{
	size_t len_bytes = protobuf_c_message_get_packed_size(m);

	assert(len_bytes <= MESSAGE_MAX);
	frame_put_head(dst, type, 0, (uint16_t)len_bytes, stream);
	return FRAME_HEAD_BYTES + protobuf_c_message_pack(m, dst + FRAME_HEAD_BYTES);
}

static ProtobufCBinaryData binary(const void *bytes, size_t len_bytes)
{
	return (ProtobufCBinaryData){ .len = len_bytes, .data = (uint8_t *)bytes };
}

/* --- HELLO --- */

static const uint8_t no_hash[FRAME_HASH_BYTES];

size_t frame_put_hello(uint8_t *dst, const struct frame_hello *m)
{
	Culvert__Tunnel__Hello pb = CULVERT__TUNNEL__HELLO__INIT;

	pb.node = binary(m->node, strlen(m->node));
	pb.incarnation = m->incarnation;
	pb.features = m->features;
	pb.initial_credit_bytes = m->initial_credit_bytes;
	pb.streams_max = m->streams_max;
	pb.tunnel_credit_bytes = m->tunnel_credit_bytes;
	pb.tunnel_id = binary(m->tunnel_id, sizeof(m->tunnel_id));
	pb.link = m->link;
	pb.lane = m->lane;
	pb.settings_hash = m->pair.settings_hash;
	pb.enrolled_count = m->pair.enrolled_count;
	if (memcmp(m->pair.enrolled_hash, no_hash, sizeof(no_hash)) != 0)
		pb.enrolled_hash = binary(m->pair.enrolled_hash, sizeof(m->pair.enrolled_hash));
	pb.is_peer_enrolled = m->pair.state != PAIR_NOT_ENROLLED;
	pb.has_joined = m->pair.state == PAIR_JOINED;
	return message_put(dst, FRAME_HELLO, 0, &pb.base);
}

static bool node_name_is_good(const ProtobufCBinaryData *name)
{
	if (!name->len || name->len >= sizeof((struct frame_hello){ 0 }.node))
		return false;
	for (size_t i = 0; i < name->len; i++) {
		uint8_t c = name->data[i];
		bool is_edge = i == 0 || i == name->len - 1;

		if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))
			continue;
		if ((c != '-' && c != '.') || is_edge)
			return false;
	}
	return true;
}

static bool hello_is_good(const Culvert__Tunnel__Hello *pb)
{
	return node_name_is_good(&pb->node) && pb->incarnation && pb->initial_credit_bytes &&
	       pb->initial_credit_bytes <= INITIAL_CREDIT_MAX && pb->streams_max && pb->tunnel_credit_bytes &&
	       pb->tunnel_credit_bytes <= OFFSET_MAX && pb->tunnel_id.len == sizeof((struct frame_hello){ 0 }.tunnel_id) &&
	       pb->link <= FRAME_LINK_BULK && pb->lane <= FRAME_LANE_MAX &&
	       (!pb->enrolled_hash.len || pb->enrolled_hash.len == FRAME_HASH_BYTES) && (pb->is_peer_enrolled || !pb->has_joined);
}

enum frame_result frame_get_hello(const struct frame *f, struct frame_hello *ret)
{
	struct arena arena;
	const Culvert__Tunnel__Hello *pb = message_unpack(&arena, &culvert__tunnel__hello__descriptor, f);

	if (!pb || !hello_is_good(pb))
		return FRAME_BAD_MESSAGE;
	*ret = (struct frame_hello){
		.incarnation = pb->incarnation,
		.features = pb->features,
		.initial_credit_bytes = pb->initial_credit_bytes,
		.streams_max = pb->streams_max,
		.tunnel_credit_bytes = pb->tunnel_credit_bytes,
		.link = (enum frame_link)pb->link,
		.lane = pb->lane,
		.pair = { .state = pb->has_joined         ? PAIR_JOINED
		                   : pb->is_peer_enrolled ? PAIR_JOINING
		                                          : PAIR_NOT_ENROLLED,
		          .enrolled_count = pb->enrolled_count,
		          .settings_hash = pb->settings_hash },
	};
	memcpy(ret->node, pb->node.data, pb->node.len);
	memcpy(ret->tunnel_id, pb->tunnel_id.data, sizeof(ret->tunnel_id));
	if (pb->enrolled_hash.len)
		memcpy(ret->pair.enrolled_hash, pb->enrolled_hash.data, sizeof(ret->pair.enrolled_hash));
	return FRAME_OK;
}

/* --- OPEN and OPENED --- */

/* The address's bytes as they go on the wire: inside e. */
static ProtobufCBinaryData address_bytes(const struct endpoint *e)
{
	if (addr_is_v4(&e->addr))
		return binary(e->addr.bytes + 12, 4);
	return binary(e->addr.bytes, 16);
}

size_t frame_put_open(uint8_t *dst, uint32_t stream, const struct frame_open *m)
{
	Culvert__Tunnel__Endpoint client = CULVERT__TUNNEL__ENDPOINT__INIT, server = CULVERT__TUNNEL__ENDPOINT__INIT;
	Culvert__Tunnel__Open pb = CULVERT__TUNNEL__OPEN__INIT;

	client.address = address_bytes(&m->client);
	client.port = m->client.port;
	server.address = address_bytes(&m->server);
	server.port = m->server.port;
	pb.client = &client;
	pb.server = &server;
	pb.nonce = binary(m->nonce, sizeof(m->nonce));
	pb.is_optimistic = m->is_optimistic;
	return message_put(dst, FRAME_OPEN, stream, &pb.base);
}

static bool endpoint_get(const Culvert__Tunnel__Endpoint *pb, struct endpoint *ret)
{
	struct endpoint e = { 0 };

	if (!pb || !pb->port || pb->port > UINT16_MAX)
		return false;
	e.port = (uint16_t)pb->port;
	if (pb->address.len == 4) {
		uint32_t v4_be;

		memcpy(&v4_be, pb->address.data, sizeof(v4_be));
		e.addr = addr_from_v4_be(v4_be);
	} else if (pb->address.len == sizeof(e.addr.bytes)) {
		memcpy(e.addr.bytes, pb->address.data, sizeof(e.addr.bytes));
		if (addr_is_v4(&e.addr))
			return false;
	} else {
		return false;
	}
	*ret = e;
	return true;
}

enum frame_result frame_get_open(const struct frame *f, struct frame_open *ret)
{
	struct arena arena;
	const Culvert__Tunnel__Open *pb = message_unpack(&arena, &culvert__tunnel__open__descriptor, f);
	struct frame_open m = { 0 };

	if (!pb || !endpoint_get(pb->client, &m.client) || !endpoint_get(pb->server, &m.server) ||
	    addr_is_v4(&m.client.addr) != addr_is_v4(&m.server.addr) || pb->nonce.len != sizeof(m.nonce))
		return FRAME_BAD_MESSAGE;
	memcpy(m.nonce, pb->nonce.data, sizeof(m.nonce));
	m.is_optimistic = pb->is_optimistic;
	*ret = m;
	return FRAME_OK;
}

size_t frame_put_opened(uint8_t *dst, uint32_t stream, const struct frame_opened *m)
{
	Culvert__Tunnel__Opened pb = CULVERT__TUNNEL__OPENED__INIT;

	pb.nonce = binary(m->nonce, sizeof(m->nonce));
	pb.mss_bytes = m->mss_bytes;
	return message_put(dst, FRAME_OPENED, stream, &pb.base);
}

enum frame_result frame_get_opened(const struct frame *f, struct frame_opened *ret)
{
	struct arena arena;
	const Culvert__Tunnel__Opened *pb = message_unpack(&arena, &culvert__tunnel__opened__descriptor, f);

	if (!pb || pb->nonce.len != sizeof(ret->nonce) || pb->mss_bytes > UINT16_MAX)
		return FRAME_BAD_MESSAGE;
	memcpy(ret->nonce, pb->nonce.data, sizeof(ret->nonce));
	ret->mss_bytes = pb->mss_bytes;
	return FRAME_OK;
}

/* --- fixed payloads --- */

size_t frame_put_taken(uint8_t *dst, uint32_t stream)
{
	frame_put_head(dst, FRAME_TAKEN, 0, 0, stream);
	return FRAME_HEAD_BYTES;
}

size_t frame_put_end(uint8_t *dst, uint32_t stream, uint64_t final_offset)
{
	frame_put_head(dst, FRAME_END, 0, END_BYTES, stream);
	put_u64(dst + FRAME_HEAD_BYTES, final_offset);
	return FRAME_HEAD_BYTES + END_BYTES;
}

enum frame_result frame_get_end(const struct frame *f, uint64_t *ret_final_offset)
{
	uint64_t offset = get_u64(f->payload);

	if (offset > OFFSET_MAX)
		return FRAME_BAD_MESSAGE;
	*ret_final_offset = offset;
	return FRAME_OK;
}

size_t frame_put_reset(uint8_t *dst, uint32_t stream, const struct frame_reset *m)
{
	frame_put_head(dst, FRAME_RESET, 0, RESET_BYTES, stream);
	put_u64(dst + FRAME_HEAD_BYTES, m->final_offset);
	put_u16(dst + FRAME_HEAD_BYTES + 8, m->reason);
	return FRAME_HEAD_BYTES + RESET_BYTES;
}

enum frame_result frame_get_reset(const struct frame *f, struct frame_reset *ret)
{
	struct frame_reset m = { .final_offset = get_u64(f->payload), .reason = get_u16(f->payload + 8) };

	if (m.final_offset > OFFSET_MAX)
		return FRAME_BAD_MESSAGE;
	*ret = m;
	return FRAME_OK;
}

size_t frame_put_cause(uint8_t *dst, uint32_t stream, const struct frame_cause *m)
{
	frame_put_head(dst, FRAME_CAUSE, 0, CAUSE_BYTES, stream);
	dst[FRAME_HEAD_BYTES] = m->type;
	dst[FRAME_HEAD_BYTES + 1] = m->code;
	memcpy(dst + FRAME_HEAD_BYTES + 2, m->from.bytes, sizeof(m->from.bytes));
	return FRAME_HEAD_BYTES + CAUSE_BYTES;
}

enum frame_result frame_get_cause(const struct frame *f, struct frame_cause *ret)
{
	ret->type = f->payload[0];
	ret->code = f->payload[1];
	memcpy(ret->from.bytes, f->payload + 2, sizeof(ret->from.bytes));
	return FRAME_OK;
}

size_t frame_put_silent(uint8_t *dst, uint32_t stream, bool is_silent)
{
	frame_put_head(dst, FRAME_SILENT, 0, SILENT_BYTES, stream);
	dst[FRAME_HEAD_BYTES] = is_silent;
	return FRAME_HEAD_BYTES + SILENT_BYTES;
}

enum frame_result frame_get_silent(const struct frame *f, bool *ret_is_silent)
{
	if (f->payload[0] > 1)
		return FRAME_BAD_MESSAGE;
	*ret_is_silent = f->payload[0];
	return FRAME_OK;
}

size_t frame_put_switch(uint8_t *dst, uint32_t stream, const struct frame_switch *m)
{
	frame_put_head(dst, FRAME_SWITCH, 0, SWITCH_BYTES, stream);
	put_u64(dst + FRAME_HEAD_BYTES, m->offset);
	dst[FRAME_HEAD_BYTES + 8] = (uint8_t)m->link;
	return FRAME_HEAD_BYTES + SWITCH_BYTES;
}

enum frame_result frame_get_switch(const struct frame *f, struct frame_switch *ret)
{
	uint64_t offset = get_u64(f->payload);
	uint8_t link = f->payload[8];

	if (offset > OFFSET_MAX || link > FRAME_LINK_BULK)
		return FRAME_BAD_MESSAGE;
	*ret = (struct frame_switch){ .offset = offset, .link = (enum frame_link)link };
	return FRAME_OK;
}

size_t frame_put_window(uint8_t *dst, uint32_t stream, uint8_t flags, const struct frame_window *m)
{
	frame_put_head(dst, FRAME_WINDOW, flags, WINDOW_BYTES, stream);
	put_u64(dst + FRAME_HEAD_BYTES, m->delivered);
	put_u64(dst + FRAME_HEAD_BYTES + 8, m->limit);
	return FRAME_HEAD_BYTES + WINDOW_BYTES;
}

enum frame_result frame_get_window(const struct frame *f, struct frame_window *ret)
{
	const uint8_t both = FRAME_WINDOW_ASK | FRAME_WINDOW_ACCEPT;
	struct frame_window m = { .delivered = get_u64(f->payload), .limit = get_u64(f->payload + 8) };

	if (m.delivered > m.limit || m.limit > OFFSET_MAX || (f->flags & both) == both)
		return FRAME_BAD_MESSAGE;
	*ret = m;
	return FRAME_OK;
}

size_t frame_put_ping(uint8_t *dst, uint8_t flags, uint64_t token)
{
	frame_put_head(dst, FRAME_PING, flags, PING_BYTES, 0);
	put_u64(dst + FRAME_HEAD_BYTES, token);
	return FRAME_HEAD_BYTES + PING_BYTES;
}

enum frame_result frame_get_ping(const struct frame *f, uint64_t *ret_token)
{
	*ret_token = get_u64(f->payload);
	return FRAME_OK;
}

static uint8_t printable(uint8_t c)
{
	return c >= ' ' && c <= '~' ? c : '?';
}

size_t frame_put_goaway(uint8_t *dst, const struct frame_goaway *m)
{
	size_t text_len = strnlen(m->text, FRAME_TEXT_MAX);
	uint8_t *p = dst + FRAME_HEAD_BYTES;

	frame_put_head(dst, FRAME_GOAWAY, 0, (uint16_t)(GOAWAY_BYTES + text_len), 0);
	put_u32(p, m->last_stream);
	put_u16(p + 4, m->reason);
	for (size_t i = 0; i < text_len; i++)
		p[GOAWAY_BYTES + i] = printable((uint8_t)m->text[i]);
	return FRAME_HEAD_BYTES + GOAWAY_BYTES + text_len;
}

enum frame_result frame_get_goaway(const struct frame *f, struct frame_goaway *ret)
{
	struct frame_goaway m = { .last_stream = get_u32(f->payload), .reason = get_u16(f->payload + 4) };

	for (size_t i = 0; i < (size_t)(f->len_bytes - GOAWAY_BYTES); i++)
		m.text[i] = (char)printable(f->payload[GOAWAY_BYTES + i]);
	*ret = m;
	return FRAME_OK;
}

size_t frame_put_pair(uint8_t *dst, const struct frame_pair *m)
{
	uint8_t *p = dst + FRAME_HEAD_BYTES;

	frame_put_head(dst, FRAME_PAIR, 0, PAIR_WHOLE_BYTES, 0);
	p[0] = (uint8_t)m->state;
	put_u32(p + 1, m->enrolled_count);
	memcpy(p + 5, m->enrolled_hash, sizeof(m->enrolled_hash));
	put_u64(p + PAIR_BYTES, m->settings_hash);
	return FRAME_HEAD_BYTES + PAIR_WHOLE_BYTES;
}

enum frame_result frame_get_pair(const struct frame *f, struct frame_pair *ret)
{
	struct frame_pair m = { .enrolled_count = get_u32(f->payload + 1) };

	if (f->payload[0] >= PAIR_STATE_COUNT)
		return FRAME_BAD_MESSAGE;
	m.state = (enum pair_state)f->payload[0];
	memcpy(m.enrolled_hash, f->payload + 5, sizeof(m.enrolled_hash));
	if (f->len_bytes >= PAIR_WHOLE_BYTES)
		m.settings_hash = get_u64(f->payload + PAIR_BYTES);
	*ret = m;
	return FRAME_OK;
}
