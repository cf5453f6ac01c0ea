/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tunnel.pb-c.h"
#include "tunnel/frame.h"

#include <string.h>

static struct endpoint endpoint(const char *text)
{
	struct endpoint e;

	assert_int_equal(endpoint_parse(text, &e), 0);
	return e;
}

/* The only frame of a record. */
static struct frame only(const uint8_t *record, size_t len)
{
	struct frame f, next;
	size_t offset = 0;

	assert_int_equal(frame_next(record, len, &offset, &f), FRAME_OK);
	assert_int_equal(offset, len);
	assert_int_equal(frame_next(record, len, &offset, &next), FRAME_AT_END);
	return f;
}

/* A frame made by hand. */
static size_t put(uint8_t *dst, uint8_t type, uint8_t flags, uint32_t stream, const void *payload, size_t len)
{
	frame_put_head(dst, type, flags, (uint16_t)len, stream);
	if (len)
		memcpy(dst + FRAME_HEAD_BYTES, payload, len);
	return FRAME_HEAD_BYTES + len;
}

static enum frame_result next_of(const uint8_t *record, size_t len)
{
	struct frame f = { .type = 0xee };
	size_t offset = 0;
	enum frame_result r = frame_next(record, len, &offset, &f);

	if (r != FRAME_OK) {
		assert_int_equal(f.type, 0xee);
		if (r != FRAME_AT_END)
			assert_int_equal(offset, 0);
	}
	return r;
}

/* --- headers --- */

static void a_header_is_as_the_protocol_says(void **state)
{
	static const uint8_t expected[] = { 0x04, 0x10, 0x01, 0x02, 0xa0, 0xb0, 0xc0, 0xd0 };
	uint8_t bytes[FRAME_HEAD_BYTES];

	(void)state;
	frame_put_head(bytes, FRAME_DATA, 0x10, 0x0102, 0xa0b0c0d0);
	assert_memory_equal(bytes, expected, sizeof(expected));
}

static void fixed_frames_are_as_the_protocol_says(void **state)
{
	static const uint8_t end[] = { 5, 0, 0, 8, 0, 0, 0, 7, 1, 2, 3, 4, 5, 6, 7, 8 };
	static const uint8_t reset[] = { 6, 0, 0, 10, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 1, 0, 0, 2 };
	static const uint8_t swap[] = { 7, 0, 0, 9, 0, 0, 0, 7, 0, 0, 0, 0, 0, 2, 0, 0, 1 };
	static const uint8_t window[] = { 8, 1, 0, 16, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 1, 9 };
	static const uint8_t ping[] = { 9, 1, 0, 8, 0, 0, 0, 0, 0xff, 0, 0, 0, 0, 0, 0, 1 };
	static const uint8_t goaway[] = { 10, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 7, 0, 15, 'b', 'y', 'e' };
	static const uint8_t taken[] = { 11, 0, 0, 0, 0, 0, 0, 7 };
	static const uint8_t pair[] = { 0x81, 0,   0,   29,  0,   0,   0,   0,   1,   0,   0, 1, 2, 'a', 'b', 'c', 'd', 'e', 'f',
		                        'g',  'h', 'i', 'j', 'k', 'l', 'm', 'n', 'o', 'p', 0, 0, 0, 0,   0,   0,   1,   3 };
	uint8_t dst[FRAME_CONTROL_MAX];

	(void)state;
	assert_int_equal(frame_put_end(dst, 7, UINT64_C(0x0102030405060708)), sizeof(end));
	assert_memory_equal(dst, end, sizeof(end));
	assert_int_equal(frame_put_reset(dst, 7, &(struct frame_reset){ 256, 2 }), sizeof(reset));
	assert_memory_equal(dst, reset, sizeof(reset));
	assert_int_equal(frame_put_switch(dst, 7, &(struct frame_switch){ 0x20000, FRAME_LINK_BULK }), sizeof(swap));
	assert_memory_equal(dst, swap, sizeof(swap));
	assert_int_equal(frame_put_window(dst, 7, FRAME_WINDOW_ASK, &(struct frame_window){ 9, 265 }), sizeof(window));
	assert_memory_equal(dst, window, sizeof(window));
	assert_int_equal(frame_put_ping(dst, FRAME_PING_ANSWER, UINT64_C(0xff00000000000001)), sizeof(ping));
	assert_memory_equal(dst, ping, sizeof(ping));
	assert_int_equal(frame_put_goaway(dst, &(struct frame_goaway){ 7, 15, "bye" }), sizeof(goaway));
	assert_memory_equal(dst, goaway, sizeof(goaway));
	assert_int_equal(frame_put_taken(dst, 7), sizeof(taken));
	assert_memory_equal(dst, taken, sizeof(taken));
	assert_int_equal(frame_put_pair(dst, &(struct frame_pair){ PAIR_JOINING, 258, "abcdefghijklmnop", 259 }), sizeof(pair));
	assert_memory_equal(dst, pair, sizeof(pair));
}

static void frames_follow_each_other_in_a_record(void **state)
{
	uint8_t record[256];
	size_t len = 0, offset = 0;
	struct frame f;

	(void)state;
	len += put(record + len, FRAME_DATA, 0, 3, "hello", 5);
	len += frame_put_end(record + len, 3, 5);
	len += frame_put_ping(record + len, 0, 1);
	assert_int_equal(frame_next(record, len, &offset, &f), FRAME_OK);
	assert_int_equal(f.type, FRAME_DATA);
	assert_int_equal(f.stream, 3);
	assert_int_equal(f.len_bytes, 5);
	assert_memory_equal(f.payload, "hello", 5);
	assert_int_equal(frame_next(record, len, &offset, &f), FRAME_OK);
	assert_int_equal(f.type, FRAME_END);
	assert_int_equal(frame_next(record, len, &offset, &f), FRAME_OK);
	assert_int_equal(f.type, FRAME_PING);
	assert_int_equal(frame_next(record, len, &offset, &f), FRAME_AT_END);
	assert_int_equal(offset, len);
}

static void a_cut_frame_is_found_at_every_place(void **state)
{
	uint8_t record[64];
	size_t len = put(record, FRAME_DATA, 0, 3, "hello", 5);

	(void)state;
	assert_int_equal(next_of(record, 0), FRAME_AT_END);
	for (size_t cut = 1; cut < len; cut++)
		assert_int_equal(next_of(record, cut), FRAME_TRUNCATED);
	assert_int_equal(next_of(record, len), FRAME_OK);
}

static void the_largest_frame(void **state)
{
	static uint8_t record[TLS_PLAIN_MAX];
	struct frame f;

	(void)state;
	frame_put_head(record, FRAME_DATA, 0, FRAME_PAYLOAD_MAX, 1);
	f = only(record, sizeof(record));
	assert_int_equal(f.len_bytes, 16260);
	assert_int_equal(next_of(record, sizeof(record) - 1), FRAME_TRUNCATED);
}

static void unknown_types(void **state)
{
	static const uint8_t closing[] = { 0, 12, 0x0f, 0x7f };
	uint8_t record[64];
	size_t len, offset = 0;
	struct frame f;

	(void)state;
	for (size_t i = 0; i < sizeof(closing); i++)
		assert_int_equal(next_of(record, put(record, closing[i], 0, 1, "x", 1)), FRAME_UNKNOWN_TYPE);
	/* Those with the bit are passed over, whatever their flags, stream and length; a known type with the bit is another type. */
	len = put(record, 0x80, 0xff, 0, NULL, 0);
	len += put(record + len, FRAME_TYPE_IGNORABLE | FRAME_PING, 0x0f, 77, "abc", 3);
	len += put(record + len, 0xff, 0, 1, "z", 1);
	assert_int_equal(next_of(record, len), FRAME_AT_END);
	len += frame_put_ping(record + len, 0, 9);
	assert_int_equal(frame_next(record, len, &offset, &f), FRAME_OK);
	assert_int_equal(f.type, FRAME_PING);
	assert_int_equal(offset, len);
	/* Also one that is passed over must end inside its record. */
	frame_put_head(record, 0x80, 0, 100, 0);
	assert_int_equal(next_of(record, 50), FRAME_TRUNCATED);
}

static void unknown_flags(void **state)
{
	uint8_t record[64];

	(void)state;
	for (unsigned bit = 0; bit < 8; bit++) {
		uint8_t flag = (uint8_t)(1u << bit);
		bool is_critical = flag & FRAME_FLAGS_CRITICAL;

		assert_int_equal(next_of(record, put(record, FRAME_DATA, flag, 1, "x", 1)), is_critical ? FRAME_UNKNOWN_FLAG : FRAME_OK);
		assert_int_equal(next_of(record, put(record, FRAME_PING, flag, 0, "12345678", 8)),
		                 is_critical && flag != FRAME_PING_ANSWER ? FRAME_UNKNOWN_FLAG : FRAME_OK);
		assert_int_equal(next_of(record, put(record, FRAME_WINDOW, flag, 1, "1234567812345678", 16)),
		                 is_critical && flag != FRAME_WINDOW_ASK && flag != FRAME_WINDOW_ACCEPT ? FRAME_UNKNOWN_FLAG : FRAME_OK);
	}
}

static void lengths_and_streams_are_those_of_the_type(void **state)
{
	enum { NEVER, ALWAYS, EITHER };
	static const struct {
		uint8_t type;
		size_t min, max;
		int stream;
	} cases[] = {
		{ FRAME_HELLO, 1, 1016, NEVER }, { FRAME_OPEN, 1, 1016, ALWAYS },  { FRAME_OPENED, 1, 1016, ALWAYS },
		{ FRAME_DATA, 1, 2000, ALWAYS }, { FRAME_END, 8, 8, ALWAYS },      { FRAME_RESET, 10, 10, ALWAYS },
		{ FRAME_SWITCH, 9, 9, ALWAYS },  { FRAME_WINDOW, 16, 16, EITHER }, { FRAME_PING, 8, 8, NEVER },
		{ FRAME_GOAWAY, 6, 262, NEVER }, { FRAME_PAIR, 21, 1016, NEVER },  { FRAME_TAKEN, 0, 0, ALWAYS },
	};
	static const uint8_t zeros[2000];
	uint8_t record[FRAME_HEAD_BYTES + sizeof(zeros)];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint32_t fits = cases[i].stream == NEVER ? 0 : 5;

		for (size_t len = 0; len <= sizeof(zeros); len++) {
			bool is_good = len >= cases[i].min && len <= cases[i].max;

			assert_int_equal(next_of(record, put(record, cases[i].type, 0, fits, zeros, len)),
			                 is_good ? FRAME_OK : FRAME_BAD_LENGTH);
		}
		assert_int_equal(next_of(record, put(record, cases[i].type, 0, fits ? 0 : 5, zeros, cases[i].min)),
		                 cases[i].stream == EITHER ? FRAME_OK : FRAME_BAD_STREAM);
	}
}

static void results_have_texts(void **state)
{
	(void)state;
	for (int r = FRAME_OK; r <= FRAME_BAD_MESSAGE; r++)
		assert_true(frame_result_text((enum frame_result)r)[0]);
	assert_string_equal(frame_result_text((enum frame_result)99), "?");
}

/* --- HELLO --- */

static struct frame_hello good_hello(void)
{
	return (struct frame_hello){
		.node = "node1",
		.incarnation = UINT64_C(0xfeedfacecafebeef),
		.features = FRAME_FEATURE_BULK_LINK,
		.initial_credit_bytes = 32768,
		.streams_max = 65536,
		.tunnel_credit_bytes = 4 << 20,
		.tunnel_id = "0123456789abcde",
		.link = FRAME_LINK_BULK,
		.lane = 3,
		.pair = { .state = PAIR_JOINED, .enrolled_count = 17, .enrolled_hash = "fedcba987654321", .settings_hash = UINT64_MAX },
	};
}

static void hello_comes_back(void **state)
{
	struct frame_hello in = good_hello(), out;
	uint8_t dst[FRAME_CONTROL_MAX];
	struct frame f;

	(void)state;
	f = only(dst, frame_put_hello(dst, &in));
	assert_int_equal(f.type, FRAME_HELLO);
	assert_int_equal(frame_get_hello(&f, &out), FRAME_OK);
	assert_memory_equal(out.node, in.node, sizeof(in.node));
	assert_true(out.incarnation == in.incarnation);
	assert_true(out.features == in.features);
	assert_int_equal(out.initial_credit_bytes, in.initial_credit_bytes);
	assert_int_equal(out.streams_max, in.streams_max);
	assert_true(out.tunnel_credit_bytes == in.tunnel_credit_bytes);
	assert_memory_equal(out.tunnel_id, in.tunnel_id, sizeof(in.tunnel_id));
	assert_int_equal(out.link, in.link);
	assert_int_equal(out.lane, 3);
	assert_true(out.pair.settings_hash == in.pair.settings_hash);
	assert_int_equal(out.pair.enrolled_count, in.pair.enrolled_count);
	assert_memory_equal(out.pair.enrolled_hash, in.pair.enrolled_hash, sizeof(in.pair.enrolled_hash));
	assert_int_equal(out.pair.state, PAIR_JOINED);
}

static void the_longest_hello_fits(void **state)
{
	struct frame_hello in = good_hello(), out;
	uint8_t dst[FRAME_CONTROL_MAX];
	struct frame f;

	(void)state;
	memset(in.node, 'n', sizeof(in.node) - 1);
	in.features = in.incarnation = in.pair.settings_hash = UINT64_MAX;
	in.tunnel_credit_bytes = UINT64_MAX >> 1;
	in.streams_max = in.pair.enrolled_count = UINT32_MAX;
	in.lane = FRAME_LANE_MAX;
	f = only(dst, frame_put_hello(dst, &in));
	assert_int_equal(frame_get_hello(&f, &out), FRAME_OK);
	assert_int_equal(strlen(out.node), 253);
}

/* pb, packed, as a frame of the type. */
static enum frame_result try_hello(const Culvert__Tunnel__Hello *pb)
{
	uint8_t record[FRAME_CONTROL_MAX];
	struct frame_hello out, before;
	enum frame_result r;
	struct frame f;
	size_t len = culvert__tunnel__hello__get_packed_size(pb);

	assert_true(len && len <= FRAME_CONTROL_MAX - FRAME_HEAD_BYTES);
	culvert__tunnel__hello__pack(pb, record + FRAME_HEAD_BYTES);
	frame_put_head(record, FRAME_HELLO, 0, (uint16_t)len, 0);
	f = only(record, FRAME_HEAD_BYTES + len);
	memset(&out, 0xa5, sizeof(out));
	before = out;
	r = frame_get_hello(&f, &out);
	if (r != FRAME_OK)
		assert_memory_equal(&out, &before, sizeof(out));
	return r;
}

static void hello_fields_are_checked(void **state)
{
	static uint8_t id[17], long_name[254];
	static const struct {
		const char *name;
		size_t len;
		bool is_good;
	} names[] = {
		{ "a", 1, true },      { "node-1.example", 14, true }, { "", 0, false },
		{ "Node", 4, false },  { "node\0x", 6, false },        { "no de", 5, false },
		{ "-node", 5, false }, { "node.", 5, false },          { "n\xc3\xb6", 3, false },
	};
	Culvert__Tunnel__Hello pb = CULVERT__TUNNEL__HELLO__INIT;

	(void)state;
	pb.node = (ProtobufCBinaryData){ 5, (uint8_t *)(uintptr_t) "node1" };
	pb.incarnation = 1;
	pb.initial_credit_bytes = 1;
	pb.streams_max = 1;
	pb.tunnel_credit_bytes = 1;
	pb.tunnel_id = (ProtobufCBinaryData){ 16, id };
	assert_int_equal(try_hello(&pb), FRAME_OK);

#define BAD(field, bad, good) \
	do { \
		pb.field = bad; \
		assert_int_equal(try_hello(&pb), FRAME_BAD_MESSAGE); \
		pb.field = good; \
		assert_int_equal(try_hello(&pb), FRAME_OK); \
	} while (0)
	BAD(incarnation, 0, 1);
	BAD(initial_credit_bytes, 0, 1);
	BAD(initial_credit_bytes, (1u << 30) + 1, 1u << 30);
	BAD(streams_max, 0, UINT32_MAX);
	BAD(tunnel_credit_bytes, 0, 1);
	BAD(tunnel_credit_bytes, UINT64_C(1) << 63, UINT64_MAX >> 1);
	BAD(tunnel_id.len, 15, 16);
	BAD(tunnel_id.len, 17, 16);
	BAD(tunnel_id.len, 0, 16);
	BAD(link, 2, 1);
	BAD(link, 256, 0);
	BAD(lane, 64, 63);
	BAD(lane, UINT32_MAX, 0);
	pb.enrolled_hash.data = id;
	BAD(enrolled_hash.len, 15, 16);
	BAD(enrolled_hash.len, 17, 0);
	/* Who has joined holds the pair enrolled. */
	BAD(has_joined, true, false);
	pb.is_peer_enrolled = true;
	BAD(link, 2, 0);
	pb.has_joined = true;
	BAD(is_peer_enrolled, false, true);
#undef BAD
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		pb.node = (ProtobufCBinaryData){ names[i].len, (uint8_t *)(uintptr_t)names[i].name };
		assert_int_equal(try_hello(&pb), names[i].is_good ? FRAME_OK : FRAME_BAD_MESSAGE);
	}
	memset(long_name, 'a', sizeof(long_name));
	pb.node = (ProtobufCBinaryData){ 254, long_name };
	assert_int_equal(try_hello(&pb), FRAME_BAD_MESSAGE);
	pb.node.len = 253;
	assert_int_equal(try_hello(&pb), FRAME_OK);
}

/* Another version's fields, between and behind ours. */
static void unknown_fields_are_ignored(void **state)
{
	struct frame_hello in = good_hello(), out;
	uint8_t record[FRAME_CONTROL_MAX];
	size_t len;
	struct frame f;

	(void)state;
	len = frame_put_hello(record, &in);
	for (int i = 0; i < 64 - 12; i++) {
		/* field 100, length-delimited, 3 bytes */
		static const uint8_t field[] = { 0xa2, 0x06, 0x03, 'n', 'e', 'w' };

		memcpy(record + len, field, sizeof(field));
		len += sizeof(field);
	}
	frame_put_head(record, FRAME_HELLO, 0, (uint16_t)(len - FRAME_HEAD_BYTES), 0);
	f = only(record, len);
	assert_int_equal(frame_get_hello(&f, &out), FRAME_OK);
	assert_string_equal(out.node, "node1");
}

/* As many fields as fit: whether it is taken is not promised, but it ends. */
static void a_message_full_of_fields_is_bounded(void **state)
{
	uint8_t record[FRAME_CONTROL_MAX];
	struct frame_open open;
	struct frame f;

	(void)state;
	for (size_t i = FRAME_HEAD_BYTES; i < sizeof(record); i += 2) {
		record[i] = 0x78; /* field 15, varint */
		record[i + 1] = 0x01;
	}
	frame_put_head(record, FRAME_OPEN, 0, sizeof(record) - FRAME_HEAD_BYTES, 1);
	f = only(record, sizeof(record));
	assert_int_equal(frame_get_open(&f, &open), FRAME_BAD_MESSAGE);
}

/* --- OPEN and OPENED --- */

static void open_comes_back(void **state)
{
	static const struct {
		const char *client, *server;
	} cases[] = { { "10.1.0.5:41000", "10.2.0.7:80" }, { "[fd01::5]:1", "[fd02::7]:65535" } };
	uint8_t dst[FRAME_CONTROL_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct frame_open in = { .client = endpoint(cases[i].client),
			                 .server = endpoint(cases[i].server),
			                 .nonce = "0123456789abcde",
			                 .is_optimistic = i },
				  out;
		struct frame f = only(dst, frame_put_open(dst, 41, &in));

		assert_int_equal(f.type, FRAME_OPEN);
		assert_int_equal(f.stream, 41);
		assert_int_equal(frame_get_open(&f, &out), FRAME_OK);
		assert_true(endpoint_equal(&out.client, &in.client));
		assert_true(endpoint_equal(&out.server, &in.server));
		assert_memory_equal(out.nonce, in.nonce, sizeof(in.nonce));
		assert_int_equal(out.is_optimistic, in.is_optimistic);
	}
}

static enum frame_result try_open(const Culvert__Tunnel__Open *pb)
{
	uint8_t record[FRAME_CONTROL_MAX];
	struct frame_open out, before;
	enum frame_result r;
	struct frame f;
	size_t len = culvert__tunnel__open__get_packed_size(pb);

	assert_true(len && len <= FRAME_CONTROL_MAX - FRAME_HEAD_BYTES);
	culvert__tunnel__open__pack(pb, record + FRAME_HEAD_BYTES);
	frame_put_head(record, FRAME_OPEN, 0, (uint16_t)len, 1);
	f = only(record, FRAME_HEAD_BYTES + len);
	memset(&out, 0xa5, sizeof(out));
	before = out;
	r = frame_get_open(&f, &out);
	if (r != FRAME_OK)
		assert_memory_equal(&out, &before, sizeof(out));
	return r;
}

static void open_fields_are_checked(void **state)
{
	static uint8_t v4[4] = { 10, 0, 0, 1 }, v6[17] = { 0xfd }, mapped[16] = { [10] = 0xff, [11] = 0xff, [12] = 10 };
	Culvert__Tunnel__Open pb = CULVERT__TUNNEL__OPEN__INIT;
	Culvert__Tunnel__Endpoint client = CULVERT__TUNNEL__ENDPOINT__INIT, server = CULVERT__TUNNEL__ENDPOINT__INIT;

	(void)state;
	client.address = server.address = (ProtobufCBinaryData){ 4, v4 };
	client.port = server.port = 1;
	pb.client = &client;
	pb.server = &server;
	pb.nonce = (ProtobufCBinaryData){ 16, v6 };
	assert_int_equal(try_open(&pb), FRAME_OK);

#define BAD(field, bad, good) \
	do { \
		field = bad; \
		assert_int_equal(try_open(&pb), FRAME_BAD_MESSAGE); \
		field = good; \
		assert_int_equal(try_open(&pb), FRAME_OK); \
	} while (0)
	BAD(pb.client, NULL, &client);
	BAD(pb.server, NULL, &server);
	BAD(client.port, 0, 65535);
	BAD(server.port, 65536, 65535);
	BAD(client.address.len, 3, 4);
	BAD(client.address.len, 0, 4);
	BAD(pb.nonce.len, 15, 16);
	BAD(pb.nonce.len, 17, 16);
	client.address = (ProtobufCBinaryData){ 16, v6 };
	assert_int_equal(try_open(&pb), FRAME_BAD_MESSAGE); /* two families */
	server.address = (ProtobufCBinaryData){ 16, v6 };
	assert_int_equal(try_open(&pb), FRAME_OK);
	BAD(server.address.len, 17, 16);
	server.address.data = mapped;
	assert_int_equal(try_open(&pb), FRAME_BAD_MESSAGE); /* a second spelling of 10.0.0.0 */
	client.address = (ProtobufCBinaryData){ 4, v4 };
	assert_int_equal(try_open(&pb), FRAME_BAD_MESSAGE);
#undef BAD
}

static void opened_comes_back_and_is_checked(void **state)
{
	struct frame_opened in = { .nonce = "0123456789abcde", .mss_bytes = 65535 }, out = { .mss_bytes = 42 };
	uint8_t dst[FRAME_CONTROL_MAX];
	struct frame f;

	(void)state;
	f = only(dst, frame_put_opened(dst, 2, &in));
	assert_int_equal(f.type, FRAME_OPENED);
	assert_int_equal(frame_get_opened(&f, &out), FRAME_OK);
	assert_memory_equal(out.nonce, in.nonce, sizeof(in.nonce));
	assert_int_equal(out.mss_bytes, 65535);
	in.mss_bytes = 65536;
	out.mss_bytes = 42;
	f = only(dst, frame_put_opened(dst, 2, &in));
	assert_int_equal(frame_get_opened(&f, &out), FRAME_BAD_MESSAGE);
	assert_int_equal(out.mss_bytes, 42);
	f = only(dst, put(dst, FRAME_OPENED, 0, 2, "\x0a\x01x", 3)); /* a nonce of one byte */
	assert_int_equal(frame_get_opened(&f, &out), FRAME_BAD_MESSAGE);
	f = only(dst, put(dst, FRAME_OPENED, 0, 2, "\x0a\x20x", 3)); /* cut */
	assert_int_equal(frame_get_opened(&f, &out), FRAME_BAD_MESSAGE);
	f = only(dst, put(dst, FRAME_OPENED, 0, 2, "\x10\x05", 2)); /* no nonce */
	assert_int_equal(frame_get_opened(&f, &out), FRAME_BAD_MESSAGE);
}

/* --- fixed payloads --- */

static void fixed_payloads_come_back(void **state)
{
	const uint64_t max = UINT64_MAX >> 1;
	uint8_t dst[FRAME_CONTROL_MAX];
	struct frame_reset reset;
	struct frame_switch change;
	struct frame_window window;
	struct frame_pair pair;
	struct frame_cause cause;
	uint64_t offset, token;
	struct frame f;

	(void)state;
	f = only(dst, frame_put_end(dst, 9, max));
	assert_int_equal(frame_get_end(&f, &offset), FRAME_OK);
	assert_true(offset == max);
	f = only(dst, frame_put_reset(dst, 9, &(struct frame_reset){ max, 0xfffe }));
	assert_int_equal(frame_get_reset(&f, &reset), FRAME_OK);
	assert_true(reset.final_offset == max);
	assert_int_equal(reset.reason, 0xfffe); /* also one that is not known */
	f = only(dst, frame_put_switch(dst, 9, &(struct frame_switch){ max, FRAME_LINK_BULK }));
	assert_int_equal(frame_get_switch(&f, &change), FRAME_OK);
	assert_true(change.offset == max && change.link == FRAME_LINK_BULK);
	f = only(dst, frame_put_window(dst, 0, FRAME_WINDOW_ACCEPT, &(struct frame_window){ max, max }));
	assert_int_equal(f.flags, FRAME_WINDOW_ACCEPT);
	assert_int_equal(frame_get_window(&f, &window), FRAME_OK);
	assert_true(window.delivered == max && window.limit == max);
	f = only(dst, frame_put_ping(dst, 0, UINT64_MAX));
	assert_int_equal(frame_get_ping(&f, &token), FRAME_OK);
	assert_true(token == UINT64_MAX);
	f = only(dst, frame_put_pair(dst, &(struct frame_pair){ PAIR_JOINED, UINT32_MAX, "fedcba987654321", UINT64_MAX }));
	assert_int_equal(frame_get_pair(&f, &pair), FRAME_OK);
	assert_true(pair.state == PAIR_JOINED && pair.enrolled_count == UINT32_MAX &&
	            !strcmp((char *)pair.enrolled_hash, "fedcba987654321") && pair.settings_hash == UINT64_MAX);
	f = only(dst, frame_put_cause(dst, 9, &(struct frame_cause){ 3, 13, { "fedcba987654321" } }));
	assert_int_equal(frame_get_cause(&f, &cause), FRAME_OK);
	assert_true(cause.type == 3 && cause.code == 13 && !strcmp((char *)cause.from.bytes, "fedcba987654321"));
	for (int i = 0; i < 2; i++) {
		bool is_silent = !i;

		f = only(dst, frame_put_silent(dst, 9, i));
		assert_int_equal(frame_get_silent(&f, &is_silent), FRAME_OK);
		assert_int_equal(is_silent, i);
	}
	f = only(dst, frame_put_pair(dst, &(struct frame_pair){ PAIR_JOINED, UINT32_MAX, "fedcba987654321", UINT64_MAX }));
	/* As earlier versions say it: without the settings. */
	dst[3] -= 8;
	f = only(dst, FRAME_HEAD_BYTES + f.len_bytes - 8);
	assert_int_equal(frame_get_pair(&f, &pair), FRAME_OK);
	assert_true(pair.state == PAIR_JOINED && pair.settings_hash == 0);
}

static void values_out_of_range_are_refused(void **state)
{
	const uint64_t beyond = UINT64_C(1) << 63;
	uint8_t dst[FRAME_CONTROL_MAX];
	struct frame_reset reset = { 1, 1 };
	struct frame_switch change = { 1, FRAME_LINK_LIGHT };
	struct frame_window window = { 1, 1 };
	struct frame_pair pair = { .enrolled_count = 1 };
	bool is_silent = false;
	uint64_t offset = 1;
	struct frame f;

	(void)state;
	f = only(dst, frame_put_end(dst, 9, beyond));
	assert_int_equal(frame_get_end(&f, &offset), FRAME_BAD_MESSAGE);
	f = only(dst, frame_put_reset(dst, 9, &(struct frame_reset){ beyond, 1 }));
	assert_int_equal(frame_get_reset(&f, &reset), FRAME_BAD_MESSAGE);
	f = only(dst, frame_put_switch(dst, 9, &(struct frame_switch){ beyond, FRAME_LINK_BULK }));
	assert_int_equal(frame_get_switch(&f, &change), FRAME_BAD_MESSAGE);
	f = only(dst, frame_put_switch(dst, 9, &(struct frame_switch){ 1, (enum frame_link)2 }));
	assert_int_equal(frame_get_switch(&f, &change), FRAME_BAD_MESSAGE);
	f = only(dst, frame_put_window(dst, 9, 0, &(struct frame_window){ 0, beyond }));
	assert_int_equal(frame_get_window(&f, &window), FRAME_BAD_MESSAGE);
	f = only(dst, frame_put_window(dst, 9, 0, &(struct frame_window){ 5, 4 }));
	assert_int_equal(frame_get_window(&f, &window), FRAME_BAD_MESSAGE);
	f = only(dst, frame_put_window(dst, 9, FRAME_WINDOW_ASK | FRAME_WINDOW_ACCEPT, &(struct frame_window){ 1, 2 }));
	assert_int_equal(frame_get_window(&f, &window), FRAME_BAD_MESSAGE);
	f = only(dst, frame_put_pair(dst, &(struct frame_pair){ .state = PAIR_STATE_COUNT }));
	assert_int_equal(frame_get_pair(&f, &pair), FRAME_BAD_MESSAGE);
	f = only(dst, frame_put_silent(dst, 9, true));
	dst[FRAME_HEAD_BYTES] = 2;
	assert_int_equal(frame_get_silent(&f, &is_silent), FRAME_BAD_MESSAGE);
	assert_true(!is_silent && pair.enrolled_count == 1 && offset == 1 && reset.final_offset == 1 && change.offset == 1 &&
	            window.delivered == 1 && window.limit == 1);
}

static void goaway_keeps_its_text_printable(void **state)
{
	struct frame_goaway in = { .last_stream = UINT32_MAX, .reason = 16 }, out;
	uint8_t dst[FRAME_CONTROL_MAX];
	struct frame f;

	(void)state;
	f = only(dst, frame_put_goaway(dst, &in));
	assert_int_equal(frame_get_goaway(&f, &out), FRAME_OK);
	assert_true(out.last_stream == UINT32_MAX);
	assert_int_equal(out.reason, 16);
	assert_string_equal(out.text, "");

	memset(in.text, 'x', FRAME_TEXT_MAX);
	f = only(dst, frame_put_goaway(dst, &in));
	assert_int_equal(f.len_bytes, 6 + FRAME_TEXT_MAX);
	assert_int_equal(frame_get_goaway(&f, &out), FRAME_OK);
	assert_string_equal(out.text, in.text);

	/* Foreign bytes come to logs and terminals. */
	f = only(dst, put(dst, FRAME_GOAWAY, 0, 0, "\0\0\0\1\0\2a\0b\x1b[2J\n\xff~", 16));
	assert_int_equal(frame_get_goaway(&f, &out), FRAME_OK);
	assert_string_equal(out.text, "a?b?[2J??~");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_header_is_as_the_protocol_says),
		cmocka_unit_test(fixed_frames_are_as_the_protocol_says),
		cmocka_unit_test(frames_follow_each_other_in_a_record),
		cmocka_unit_test(a_cut_frame_is_found_at_every_place),
		cmocka_unit_test(the_largest_frame),
		cmocka_unit_test(unknown_types),
		cmocka_unit_test(unknown_flags),
		cmocka_unit_test(lengths_and_streams_are_those_of_the_type),
		cmocka_unit_test(results_have_texts),
		cmocka_unit_test(hello_comes_back),
		cmocka_unit_test(the_longest_hello_fits),
		cmocka_unit_test(hello_fields_are_checked),
		cmocka_unit_test(unknown_fields_are_ignored),
		cmocka_unit_test(a_message_full_of_fields_is_bounded),
		cmocka_unit_test(open_comes_back),
		cmocka_unit_test(open_fields_are_checked),
		cmocka_unit_test(opened_comes_back_and_is_checked),
		cmocka_unit_test(fixed_payloads_come_back),
		cmocka_unit_test(values_out_of_range_are_refused),
		cmocka_unit_test(goaway_keeps_its_text_printable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
