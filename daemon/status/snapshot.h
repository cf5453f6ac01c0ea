/* SPDX-License-Identifier: GPL-3.0-or-later */
/* snapshot.h - what the status socket can tell, as plain data that the daemon fills. Units and words are those of proto/status.proto.
 * Texts that are pointers are borrowed until status_reply_done returns; NULL is an empty one. What a query does not ask for may stay zero: see status_query. */
#ifndef CULVERT_STATUS_SNAPSHOT_H
#define CULVERT_STATUS_SNAPSHOT_H

#include "base/addr.h"
#include "tls/tls.h" /* TLS_NAME_BYTES: plain data */
#include "tunnel/reason.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	SNAPSHOT_NODE_BYTES = 254,
	SNAPSHOT_TEXT_BYTES = 256,
	SNAPSHOT_CAUSE_BYTES = 64,
	SNAPSHOT_ADDRESSES_MAX = 8,
	SNAPSHOT_CERTIFICATE_BYTES = TLS_NAME_BYTES + 4
};

struct snapshot_reload {
	const char *what; /* "settings", "nodes", "certificates" */
	uint64_t generation;
	uint64_t failures; /* tries that were refused */
	int64_t loaded_s, tried_s;
	const char *error;
};

struct snapshot_device {
	char name[16];
	uint32_t ifindex;
	bool is_attached, is_first;
	char how[16];
	char detail[SNAPSHOT_TEXT_BYTES];
};

struct snapshot_counter {
	const char *name;
	bool is_ingress, is_clear, is_refused;
	uint64_t packets, bytes;
};

struct snapshot_event {
	const char *name;
	uint64_t count;
};

struct snapshot_peer {
	char name[SNAPSHOT_NODE_BYTES];
	uint32_t node_id;
	size_t addresses_count;
	struct addr addresses[SNAPSHOT_ADDRESSES_MAX]; /* the first ones, where it has more */
	bool is_enrolled;
	const char *pair;  /* pair_state_text */
	const char *state; /* "none", "connecting", "up", "suspect", "draining" */
	uint64_t state_ms, retry_in_ms;
	char tls_version[16], tls_group[32], tls_cipher[48];
	char certificate_name[SNAPSHOT_CERTIFICATE_BYTES]; /* with its type: "URI:..." */
	char certificate_serial[64];
	int64_t certificate_not_after_s;
	uint32_t tunnels;
	uint64_t tunnel_workers; /* a bit for each worker that has some of them */
	uint64_t streams_open, streams_waiting, streams_total;
	uint64_t sent_bytes, received_bytes;
	uint64_t rtt_us;
	char last_error[2 * SNAPSHOT_TEXT_BYTES];
	int64_t last_error_s;
	uint64_t incarnation;
	const char *pair_there; /* as pair; NULL: not known */
	uint32_t enrolled_there;
	bool is_enrolled_different;
	uint64_t settings_said_ns; /* when it said its settings last, in HELLO or PAIR, by the clock of the loops; 0: never */
	bool has_other_settings;   /* those were others than ours are */
};

struct snapshot_stream {
	uint32_t id, worker;
	struct endpoint client, server;
	char peer[SNAPSHOT_NODE_BYTES];
	bool is_client_side;
	const char *state; /* stream_state_text */
	uint64_t age_ms, sent_bytes, received_bytes;
	bool is_sent_bulk, is_received_bulk;
	uint64_t window_bytes, buffered_bytes, send_room_bytes;
	const char *reason; /* "": not closed */
};

struct snapshot_ended {
	uint32_t id, worker;
	struct endpoint client, server;
	char peer[SNAPSHOT_NODE_BYTES];
	bool is_client_side;
	const char *state, *reason, *by; /* stream_state_text, reason_text, ended_by_text */
	char cause[SNAPSHOT_CAUSE_BYTES];
	uint64_t ended_ms, lived_ms, sent_bytes, received_bytes;
};

struct snapshot_certificates {
	size_t names_count;
	char names[TLS_NAMES_MAX][SNAPSHOT_CERTIFICATE_BYTES]; /* with their types */
	char serial[64];
	int64_t not_before_s, not_after_s;
	uint8_t sha256[32];
	size_t authorities_count;
	struct {
		char subject[128];
		int64_t not_after_s;
	} authorities[16];
	bool has_crl;
	const char *directory;
	struct snapshot_issuance {
		bool is_there; /* the daemon asks for its certificate itself */
		const char *signer, *phase;
		int64_t since_s, renewal_s, authorities_s, failed_s;
		uint64_t issued;
		char request[256], error[1024];
	} issuance;
	struct snapshot_reload reload;
};

/* The objects of one kind that are followed in the API. */
struct snapshot_followed {
	const char *what, *error;
	bool is_synced, is_current, is_forbidden;
	int64_t since_s;
	uint64_t objects, lists, watches, events, bytes, refused;
};

struct snapshot_refusal {
	const char *object, *text;
	int64_t since_s;
};

/* A node whose settings that all must agree on are others than ours. */
struct snapshot_other {
	const char *node;
	bool is_by_record; /* as it was when it was enrolled, since it has said nothing else; else by its own word */
};

enum { SNAPSHOT_FOLLOWED_MAX = 5, SNAPSHOT_REFUSALS_MAX = 64, SNAPSHOT_OTHER_PORT_MAX = 16, SNAPSHOT_OTHER_SETTINGS_MAX = 16 };

struct snapshot_cluster {
	bool is_synced, is_current, is_too_large;
	int64_t since_s;
	const char *missing, *enrolment, *enrolment_detail;
	uint64_t nodes, enrolled, pods, namespaces, ended_addresses, refused_total;
	uint32_t nodes_at_most;
	size_t followed_count, refusals_count, other_port_count, other_settings_count;
	struct snapshot_followed followed[SNAPSHOT_FOLLOWED_MAX];
	struct snapshot_refusal refusals[SNAPSHOT_REFUSALS_MAX];
	const char *other_port[SNAPSHOT_OTHER_PORT_MAX];
	struct snapshot_other other_settings[SNAPSHOT_OTHER_SETTINGS_MAX];
};

/* What the kernel says of the daemon's process. */
struct snapshot_process {
	uint64_t cpu_us, resident_bytes;
	uint64_t open_fds, max_fds; /* open: 0 where the kernel does not tell */
};

struct snapshot {
	int64_t now_s; /* Unix time of the snapshot */

	/* the node */
	const char *node, *version;
	uint64_t incarnation, uptime_s;
	const char *mode, *connect;
	const char *metrics_listen; /* "": nowhere */
	const char *sealed_by;      /* what seals records */
	bool is_ready, is_draining, is_shared_identity;
	const char *reason;
	uint32_t workers, nodes, nodes_enrolled, peers_up, peers_wanted;
	uint64_t full_workers, workers_busy_us; /* a bit for each that is full now; all of them together since the start */
	uint64_t pods;                          /* prefixes of pods that are somebody's */
	uint64_t streams_open, streams_total, sent_bytes, received_bytes;
	uint64_t budget_bytes, granted_bytes, buffered_bytes;
	uint64_t ended[REASON_COUNT]; /* streams, by reason */
	/* by reason: tunnels that we tried to make, and other nodes' connections that did not become one */
	uint64_t tunnels_failed[REASON_COUNT], handshakes_refused[REASON_COUNT];
	size_t tunnels_count, stream_states_count;
	const struct snapshot_event *tunnels, *stream_states; /* how many there are now, by state */
	size_t events_count, reloads_count, devices_count, counters_count;
	const struct snapshot_event *events;
	const struct snapshot_reload *reloads;
	const struct snapshot_device *devices;
	const struct snapshot_counter *counters;

	struct snapshot_process process;
	struct snapshot_certificates certificates;
	const struct snapshot_cluster *cluster; /* NULL: the nodes come from a file */

	size_t peers_count, streams_count;
	const struct snapshot_peer *peers;
	const struct snapshot_stream *streams; /* at most the query's limit are looked at */
	size_t ended_count;
	const struct snapshot_ended *ended_streams; /* the newest first; as streams */
	uint64_t streams_matching;                  /* of streams or of ended_streams, that fit the query, also where fewer are here */
};

#endif
