/* SPDX-License-Identifier: GPL-3.0-or-later */
/* tls.h - mutual TLS 1.3 sessions and the contexts that they come from.
 * This folder is the only door to wolfSSL; it knows nothing of loops, tunnels, frames or policy.
 * Thread: a session is one worker's at a time; a context is immutable and may be shared.
 *
 * During the handshake a session reads and writes its socket itself (exactly its records, never more), and the library does the work. Then
 * its keys are taken over and the library's object is freed: a session only seals and opens whole records in the caller's buffers, in place,
 * and the caller moves the bytes: one system call for many records. */
#ifndef CULVERT_TLS_TLS_H
#define CULVERT_TLS_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tls_ctx;     /* counted; one per generation of certificates, never reloaded in place */
struct tls_session; /* borrows the socket */

enum tls_role { TLS_CLIENT, TLS_SERVER };

enum tls_result {
	TLS_OK,
	TLS_WANT_READ,
	TLS_WANT_WRITE,
	TLS_PEER_CLOSED, /* close_notify, or in the handshake an end of the socket */
	TLS_FAILED,      /* tls_session_error says why */
};

/* A record as it lies in a buffer: head, plaintext, tail (content type and tag, RFC 8446, 5.2). Four records of TLS_PLAIN_MAX are 65,160
 * bytes with heads and tails: one train of 45 segments of 1,448 bytes, so each send fills its packets. */
enum { TLS_HEAD_BYTES = 5, TLS_TAIL_BYTES = 17, TLS_PLAIN_MAX = 16268, TLS_CONTROL_MAX = 256 };
/* What a peer may send in one record (RFC 8446, 5.2): head, 2^14 + 256. */
enum { TLS_RECORD_MAX = 5 + 16384 + 256 };

enum tls_name_type { TLS_NAME_URI, TLS_NAME_DNS };
enum { TLS_NAMES_MAX = 8, TLS_NAME_BYTES = 256, TLS_ERROR_BYTES = 400 };

struct tls_name {
	enum tls_name_type type;
	char text[TLS_NAME_BYTES]; /* as in the certificate; never holds a NUL inside, such a certificate is refused */
};

/* What a peer proved to be. */
struct tls_peer {
	int64_t not_after_s; /* Unix time: end of the earliest of the chain's certificates that is known */
	char serial[64];     /* hex */
	uint8_t sha256[32];  /* of the leaf's DER */
	size_t names_count;  /* URI and DNS subject alternative names, in the certificate's order */
	/* A certificate with more is refused. The last member, since a session keeps only as many as there are. */
	struct tls_name names[TLS_NAMES_MAX];
};

struct tls_info {
	const char *version; /* "TLSv1.3" */
	const char *group;   /* "X25519MLKEM768", "X25519", "SECP256R1" */
	const char *cipher;  /* "TLS_AES_128_GCM_SHA256" */
};

/* Once, in main, before any thread: library start, and what it would else initialise lazily and unlocked. 0 or -EIO. */
int tls_init(void);
/* What seals and opens the records of AES-GCM on this processor: "ipsec-mb with AVX-512 and VAES", "wolfCrypt". After tls_init. */
const char *tls_engine_text(void);

struct tls_ctx *tls_ctx_ref(struct tls_ctx *ctx);
void tls_ctx_unref(struct tls_ctx *ctx); /* NULL is welcome */

/* Begins a session on fd. Takes its own reference to ctx; fd stays the caller's to close. 0 and *ret set, or -ENOMEM with *ret
 * untouched. */
int tls_session_create(struct tls_ctx *ctx, int fd, enum tls_role role, struct tls_session **ret);
void tls_session_destroy(struct tls_session *s); /* NULL is welcome; half-built too */

/* Was it made with ctx? */
bool tls_session_is_of(const struct tls_session *s, const struct tls_ctx *ctx);

/* Goes on with the handshake. TLS_OK: both certificates are verified against the authorities, with validity, both extended key usages and
 * ALPN culvert/1; the NAME is the caller's to compare (tls_session_peer). As a client TLS_OK does not say that the server took our
 * certificate (RFC 8446: it is judged after the client is done). */
enum tls_result tls_handshake(struct tls_session *s);
/* After TLS_OK; lives as long as s. Of its names only names_count are there: it is not copied whole. */
const struct tls_peer *tls_session_peer(const struct tls_session *s);
struct tls_info tls_session_info(const struct tls_session *s);
/* Whether ctx, a later context than the session's own, would still take its peer: its chain ends at an authority of ctx, and ctx's lists
 * revoke none of it. Signatures were verified in the handshake. false with a sentence in error. */
bool tls_session_is_taken_by(const struct tls_session *s, const struct tls_ctx *ctx, char error[TLS_ERROR_BYTES]);
/* One sentence about the last TLS_FAILED, in our words: which certificate, what is wrong, what would be right. */
const char *tls_session_error(const struct tls_session *s);
/* After TLS_FAILED: was it that the peer refused our certificate? A client hears that only after its own handshake is done. */
bool tls_session_is_refused(const struct tls_session *s);

/* Seals one record in place: len_bytes (1..TLS_PLAIN_MAX) of plaintext lie at record + TLS_HEAD_BYTES; afterwards the record is the
 * TLS_HEAD_BYTES + len_bytes + TLS_TAIL_BYTES bytes at record. TLS_OK or TLS_FAILED. Then tls_take_control: what it gives goes out BEFORE
 * this record. */
enum tls_result tls_seal(struct tls_session *s, uint8_t *record, size_t len_bytes);

/* Opens the first record of in. TLS_OK: *ret_used bytes are done with, and *ret_plain (inside in) has *ret_len bytes of data; 0 of them
 * where it was a key update.
 * TLS_WANT_READ: no whole record there yet. TLS_PEER_CLOSED: a close_notify. TLS_FAILED: forged, or not allowed. Then tls_take_control:
 * what it gives goes out before the next record that is sealed. */
enum tls_result tls_open(struct tls_session *s, uint8_t *in, size_t in_len_bytes, size_t *ret_used, uint8_t **ret_plain, size_t *ret_len);

/* Moves sealed bytes that the session itself wants to send (key updates, alerts) to dst; at most TLS_CONTROL_MAX. */
size_t tls_take_control(struct tls_session *s, uint8_t *dst, size_t cap_bytes);
/* Prepares close_notify (orderly) for tls_take_control. */
void tls_close_notify(struct tls_session *s);
/* Makes the next seal use new keys and asks the peer for the same (RFC 8446, 4.6.3). */
enum tls_result tls_update_keys(struct tls_session *s);

#endif
