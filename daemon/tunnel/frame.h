/* SPDX-License-Identifier: GPL-3.0-or-later */
/* frame.h - frame headers and control messages of the tunnel: encode and decode, nothing else. The specification is docs/protocol.md.
 * A frame is 8 bytes of header (type, flags, 16-bit payload length, 32-bit stream; big-endian) and its payload; it never spans a TLS record, and a
 * record holds whole frames only. Decoders check everything in locals and write their output at once; any thread. */
#ifndef CULVERT_TUNNEL_FRAME_H
#define CULVERT_TUNNEL_FRAME_H

#include "base/addr.h"
#include "cluster/pair.h"
#include "tls/tls.h" /* TLS_PLAIN_MAX */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum frame_type {
	FRAME_HELLO = 1,   /* stream 0; protobuf; the first frame of each TLS connection, both ways */
	FRAME_OPEN = 2,    /* protobuf */
	FRAME_OPENED = 3,  /* protobuf */
	FRAME_DATA = 4,    /* bytes of the stream */
	FRAME_END = 5,     /* u64 final offset */
	FRAME_RESET = 6,   /* u64 final offset, u16 reason */
	FRAME_SWITCH = 7,  /* u64 offset, u8 link: later DATA and END of this direction come on that link */
	FRAME_WINDOW = 8,  /* u64 delivered, u64 limit; stream 0: the whole tunnel */
	FRAME_PING = 9,    /* u64 token; stream 0 */
	FRAME_GOAWAY = 10, /* u32 last stream id taken, u16 reason, then UTF-8 text of at most FRAME_TEXT_MAX bytes; stream 0 */
	FRAME_TAKEN = 11,  /* empty: the client's connection is complete, so the server's may be */
	FRAME_PAIR =
		0x81, /* u8 state, u32 enrolled nodes, 16 bytes of hash, u64 settings: what HELLO said of the pair has changed; stream 0 */
	FRAME_CAUSE = 0x82,  /* u8 type, u8 code, 16 bytes of address: the ICMP error behind the RESET that follows */
	FRAME_SILENT = 0x83, /* u8: 1, the sender's pod of the stream does not answer any more; 0, it does again */
};

/* A type with this bit that is not known is skipped; one without it closes the tunnel. */
#define FRAME_TYPE_IGNORABLE 0x80
/* A flag of the upper half that is not known is ignored; one of the lower half closes the tunnel. */
#define FRAME_FLAGS_CRITICAL 0x0f
#define FRAME_WINDOW_ASK     0x01 /* limit is lower than one granted before: please give the difference back */
#define FRAME_WINDOW_ACCEPT  0x02 /* answer of the sender of data: it will not pass limit */
#define FRAME_PING_ANSWER    0x01
#define FRAME_DATA_URGENT    0x10 /* the last byte is urgent (RFC 6093); who does not know it hands the byte over in its place */

enum {
	FRAME_HEAD_BYTES = 8,
	FRAME_PAYLOAD_MAX = TLS_PLAIN_MAX - FRAME_HEAD_BYTES, /* 16,260 */
	FRAME_TEXT_MAX = 256,
	FRAME_NONCE_BYTES = 16,
	FRAME_CONTROL_MAX = 1024, /* no control frame, header included, is longer */
	FRAME_HASH_BYTES = 16,
	FRAME_LANE_MAX = 63,
};

struct frame {
	uint8_t type, flags;
	uint16_t len_bytes; /* payload */
	uint32_t stream;
	const uint8_t *payload; /* inside the record */
};

enum frame_result {
	FRAME_OK,
	FRAME_AT_END,       /* the record is used up */
	FRAME_TRUNCATED,    /* header or payload passes the end of the record */
	FRAME_UNKNOWN_TYPE, /* and not ignorable: close */
	FRAME_UNKNOWN_FLAG, /* and critical: close */
	FRAME_BAD_LENGTH,   /* payload length is not what the type needs */
	FRAME_BAD_STREAM,   /* stream 0 where one is needed, or the other way round */
	FRAME_BAD_MESSAGE,  /* protobuf does not parse, or a field is missing or out of range */
};
const char *frame_result_text(enum frame_result r);

/* Takes the next frame of a record at *offset, which moves behind it. Unknown ignorable frames are skipped here. Checks type, critical flags, length of fixed payloads and
 * whether the stream id fits the type. */
enum frame_result frame_next(const uint8_t *record, size_t len_bytes, size_t *offset, struct frame *ret);

enum frame_link { FRAME_LINK_LIGHT = 0, FRAME_LINK_BULK = 1 };

/* Features are bits; a peer uses one only if both have it. */
#define FRAME_FEATURE_BULK_LINK UINT64_C(0x1) /* a second TLS connection and SWITCH */
#define FRAME_FEATURE_TAKEN     UINT64_C(0x2)

/* What a node holds true of who is enrolled, and its settings: in HELLO, and in PAIR when it changes. */
struct frame_pair {
	enum pair_state state;                   /* of the pair that sender and receiver make */
	uint32_t enrolled_count;                 /* how many nodes the sender holds enrolled */
	uint8_t enrolled_hash[FRAME_HASH_BYTES]; /* over their names: tells two nodes that their views differ; zeros: not said */
	uint64_t settings_hash;                  /* of the settings that both ends must agree on; 0: not said */
};

struct frame_hello {
	char node[254];       /* the sender's node name */
	uint64_t incarnation; /* random at each start of the daemon, never 0 */
	uint64_t features;
	uint32_t initial_credit_bytes; /* of each stream that the receiver of this HELLO opens, and of the answers' direction */
	uint32_t streams_max;          /* that the receiver of this HELLO may have open at once */
	uint64_t tunnel_credit_bytes;  /* first limit of the whole tunnel */
	uint8_t tunnel_id[16]; /* random, chosen by the connecting side; the light and the bulk connection of one tunnel have the same */
	enum frame_link link;
	uint32_t lane; /* of the connecting side: so many workers behind the sender's home, 0..FRAME_LANE_MAX */
	struct frame_pair pair;
};

struct frame_open {
	struct endpoint client, server;   /* of one family */
	uint8_t nonce[FRAME_NONCE_BYTES]; /* with OPENED's the stream's name for a later RESUME */
	bool is_optimistic;               /* the client's connection is accepted already */
};

struct frame_opened {
	uint8_t nonce[FRAME_NONCE_BYTES];
	uint32_t mss_bytes; /* of the server's connection; 0: not said */
};

struct frame_reset {
	uint64_t final_offset;
	uint16_t reason; /* enum close_reason; a number that is not known is kept */
};
/* Why the server side could not connect, where an ICMP error said it (RFC 792, RFC 4443). */
struct frame_cause {
	uint8_t type, code;
	struct addr from; /* who sent it */
};
struct frame_window {
	uint64_t delivered, limit; /* absolute offsets; delivered <= limit is checked */
};
struct frame_switch {
	uint64_t offset;
	enum frame_link link;
};
struct frame_goaway {
	uint32_t last_stream;
	uint16_t reason;
	char text[FRAME_TEXT_MAX + 1]; /* printable ASCII only: other bytes become '?' */
};

/* Writes the header only: for DATA, whose payload was read straight behind it. */
void frame_put_head(uint8_t *dst, uint8_t type, uint8_t flags, uint16_t len_bytes, uint32_t stream);

/* Encoders write a whole frame to dst, which has FRAME_CONTROL_MAX bytes; they return its length. Inputs are our own and valid. */
size_t frame_put_hello(uint8_t *dst, const struct frame_hello *m);
size_t frame_put_open(uint8_t *dst, uint32_t stream, const struct frame_open *m);
size_t frame_put_opened(uint8_t *dst, uint32_t stream, const struct frame_opened *m);
size_t frame_put_taken(uint8_t *dst, uint32_t stream);
size_t frame_put_end(uint8_t *dst, uint32_t stream, uint64_t final_offset);
size_t frame_put_reset(uint8_t *dst, uint32_t stream, const struct frame_reset *m);
size_t frame_put_cause(uint8_t *dst, uint32_t stream, const struct frame_cause *m);
size_t frame_put_silent(uint8_t *dst, uint32_t stream, bool is_silent);
size_t frame_put_switch(uint8_t *dst, uint32_t stream, const struct frame_switch *m);
size_t frame_put_window(uint8_t *dst, uint32_t stream, uint8_t flags, const struct frame_window *m);
size_t frame_put_ping(uint8_t *dst, uint8_t flags, uint64_t token);
size_t frame_put_goaway(uint8_t *dst, const struct frame_goaway *m);
size_t frame_put_pair(uint8_t *dst, const struct frame_pair *m);

/* Decoders of one frame's payload; the frame came from frame_next. FRAME_OK or why not, with *ret untouched. */
enum frame_result frame_get_hello(const struct frame *f, struct frame_hello *ret);
enum frame_result frame_get_open(const struct frame *f, struct frame_open *ret);
enum frame_result frame_get_opened(const struct frame *f, struct frame_opened *ret);
enum frame_result frame_get_end(const struct frame *f, uint64_t *ret_final_offset);
enum frame_result frame_get_reset(const struct frame *f, struct frame_reset *ret);
enum frame_result frame_get_cause(const struct frame *f, struct frame_cause *ret);
enum frame_result frame_get_silent(const struct frame *f, bool *ret_is_silent);
enum frame_result frame_get_switch(const struct frame *f, struct frame_switch *ret);
enum frame_result frame_get_window(const struct frame *f, struct frame_window *ret);
enum frame_result frame_get_ping(const struct frame *f, uint64_t *ret_token);
enum frame_result frame_get_goaway(const struct frame *f, struct frame_goaway *ret);
enum frame_result frame_get_pair(const struct frame *f, struct frame_pair *ret);

#endif
