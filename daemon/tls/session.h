/* SPDX-License-Identifier: GPL-3.0-or-later */
/* session.h - a session's inside, its limits, and the end of a session that failed.
 * For this folder only. Thread: the worker that made the session. */
#ifndef CULVERT_TLS_SESSION_H
#define CULVERT_TLS_SESSION_H

#include "tls/ctx.h"
#include "tls/late.h"
#include "tls/record.h"
#include "tls/verify.h"

enum {
	/* What a peer may send before its Finished: hello, a chain of nine certificates with large keys, and room. A stranger can make us
	 * hold no more. */
	TLS_HANDSHAKE_BYTES_MAX = 64 << 10,
	TLS_HANDSHAKE_RECORDS_MAX = 64,
	/* Records in a row that carry no data: key updates, tickets of another library, empty ones. Each costs us work and could come
	 * without end. */
	TLS_IDLE_RECORDS_MAX = 32,
};

/* New keys after so many records: RFC 8446, 5.5 allows 2^24.5 with AES-GCM, and a full record each is 270 GB. */
#define TLS_RECORDS_PER_KEY (UINT64_C(1) << 24)

enum tls_phase { TLS_PHASE_HANDSHAKE, TLS_PHASE_OPEN, TLS_PHASE_BROKEN };

/* Why the I/O callbacks gave up, where the library's error says less. */
enum tls_io_fault { TLS_IO_OK, TLS_IO_END, TLS_IO_ERRNO, TLS_IO_BUDGET };

struct tls_session {
	WOLFSSL *ssl; /* NULL once the handshake is done: its keys are taken over, and it is large */
	struct tls_ctx *ctx;
	int fd;
	enum tls_role role;
	enum tls_phase phase;
	enum tls_io_fault io_fault;
	int io_errno;

	/* What the peer has sent in the handshake, and how much of its current record is still to come. */
	uint32_t handshake_bytes, handshake_records, record_left;
	uint8_t record_head[TLS_HEAD_BYTES];
	uint8_t record_head_len;

	/* The client's and the server's first secrets, from when the library has them until the keys are made. */
	uint8_t secrets[2][RECORD_SECRET_MAX];
	int secret_bytes[2];

	struct record_keys sending, receiving;
	struct late late;
	uint32_t idle_records;
	uint64_t records_per_key;
	bool is_close_sent;
	bool is_answered; /* new keys that the peer asked for were made, and no data has gone under them yet */
	uint8_t control[TLS_CONTROL_MAX];
	size_t control_len;

	bool is_certificate_refused; /* by an alert of the peer */
	struct tls_info info;
	struct verdict verdict;
	char error[TLS_ERROR_BYTES];
};

/* Marks the session as broken, with this sentence. TLS_FAILED. */
__attribute__((format(printf, 2, 3))) enum tls_result session_break(struct tls_session *s, const char *format, ...);
/* The same with the sentence for what the library's error code, the I/O callbacks, the verdict and the peer's alert say together.
 * TLS_PEER_CLOSED where the peer went without a word, else TLS_FAILED. */
enum tls_result session_break_library(struct tls_session *s, int code);

/* The same with the sentence for a fatal alert of the peer. */
enum tls_result session_break_alert(struct tls_session *s, int code);

#endif
