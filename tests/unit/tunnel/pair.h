/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pair.h - two nodes in one process for tests: two pools with their own loops and fake clocks, real TLS over loopback TCP between them, and
 * loopback TCP for pods. Nothing sleeps: pair_pump moves both loops until a condition holds. node2 may have a second worker. */
#ifndef CULVERT_TESTS_UNIT_TUNNEL_PAIR_H
#define CULVERT_TESTS_UNIT_TUNNEL_PAIR_H

#include "tunnel/pool.h"
#include "tunnel/stranger.h"
#include "tunnel/stream.h"

#include <stdbool.h>

enum {
	PAIR_PODS_MAX = 10240,
	PAIR_LATE_S = STREAM_JUDGE_MS / 1000 - 2,   /* a view that comes so late is not too late */
	PAIR_JUDGED_S = STREAM_JUDGE_MS / 1000 + 2, /* and now it would be */
};

struct pair;

struct side {
	struct pair *pair;
	int index;
	struct clock clock;
	struct loop *loop;
	struct pool *pool;
	struct pool_settings settings;
	struct budget budget;
	struct view *view;
	bool is_cut;            /* the wire is cut: nothing of this side runs */
	int connect_node_error; /* negative errno that connect_node returns; 0: it works */
	int connect_pod_error;
	bool is_pod_at_once;               /* a server pod accepts while connect_pod runs */
	bool is_pod_rude;                  /* it says 4 bytes, and resets */
	bool is_ack_late;                  /* of the last connect_pod */
	int connects;                      /* tunnels begun */
	struct pair_reach reach;           /* as it was told last */
	enum pair_state pair_state, heard; /* what hear_peer answers, and what it was told last */
	bool is_drained;
	int drained;             /* calls of pool_ops.drained */
	int pods[PAIR_PODS_MAX]; /* the far ends of connections to server pods, in order */
	int pods_count, pods_taken;
	struct sock_answers answers; /* of every pod: what the kernel would say */
	int asked;                   /* how often it was asked of a pod */
	int silence_error;           /* negative errno that silence_flow returns; 0: it works */
	int silenced;                /* flows that are */
	struct endpoint silenced_local, silenced_remote;
	int released; /* SYNs that were let in */
	struct syn last_released;
	int answered; /* SYNs that were answered, silence included */
	struct syn_answer last_answer;
	uint32_t lane;            /* what lane_of says */
	struct moved_link *moved; /* the last link that went to another worker; the test's to deliver */
	int moves;
	bool is_full;                 /* as it was told last */
	int full_told, lanes_wanted;  /* how often */
	uint64_t restarted, restarts; /* the last incarnation that is dead; how many */
};

struct pair {
	struct side side[2]; /* node1, node2 */
	struct side other;   /* node2's second worker, its lane 1; without a loop: there is none */
};

/* What main of a test program returns. TEST_LOG in the environment: all is logged. */
#define PAIR_RUN(tests) (pair_begin() ? 1 : cmocka_run_group_tests(tests, NULL, NULL))
/* The log and TLS. 0, or what tls_init says. */
int pair_begin(void);

/* Builds both with the usual view: node1 has 10.1.0.0/16, node2 10.2.0.0/16. budget_bytes of each. */
void pair_init(struct pair *p, uint64_t budget_bytes);
void pair_done(struct pair *p);
/* Before anything else: node1 has two workers, and its side is the second; node2 has two. */
void pair_add_worker(struct pair *p);
/* A pool of side i again, after pool_destroy, with another incarnation. */
void side_start(struct side *s);
void side_stop(struct side *s);
/* Sets a view in which node2's pods are pods2 and node1's pods1. */
struct view *pair_view(int self, const char *pods1, const char *pods2);
/* A client pod of side i connects to a server of the other. Returns the client's descriptor, non-blocking. */
int pair_open(struct pair *p, int i, const char *client, const char *server);
/* A SYN of a client pod of side i is taken out of the kernel. */
void pair_syn(struct pair *p, int i, const char *client, const char *server, uint32_t seq);
/* One that came by a device of that number. */
void pair_syn_by(struct pair *p, int i, uint32_t device, const char *client, const char *server, uint32_t seq);
/* The next connection that a server pod of side i accepted, or -1. */
int side_take_pod(struct side *s);
/* Runs both loops until done(ctx) or too many batches. Returns whether it holds. */
bool pair_pump(struct pair *p, bool (*done)(void *ctx), void *ctx);
/* A number of batches of both. */
void pair_run(struct pair *p, int batches);
/* Moves the clocks, a second at a time with batches between. */
void pair_advance_s(struct pair *p, int seconds);
/* The same at once, with batches behind. */
void pair_advance_ms(struct pair *p, uint64_t ms);
/* What the pool's connect_node does: a connection to the other side, for a test that speaks for itself. */
int pair_connect_node(struct side *s, bool *ret_pending);
/* A number of batches of side s alone. */
void side_run(struct side *s, int batches);
/* Side s alone, until done(ctx): what was sent may reach its socket later. */
bool side_pump(struct side *s, bool (*done)(void *ctx), void *ctx);
/* The first tunnel of side s, or NULL. */
struct tunnel *side_tunnel(const struct side *s);

#endif
