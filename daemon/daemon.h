/* SPDX-License-Identifier: GPL-3.0-or-later */
/* daemon.h - the running daemon: start-up in order, reverse undo, signals and the orderly end. Its parts are plain data, which reload, accept
 * and report use. Thread: main. */
#ifndef CULVERT_DAEMON_H
#define CULVERT_DAEMON_H

#include "base/config.h"
#include "cluster/name.h"
#include "cluster/view.h"
#include "edge/capture.h"
#include "edge/netns.h"
#include "engine.h"
#include "net/loop.h"
#include "status/server.h"
#include "tls/cred.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

/* One thing that is loaded again when it changes, and what became of the last try. */
struct reload_state {
	char error[CONFIG_ERROR_BYTES]; /* "": the last try was good */
	int64_t tried_s, loaded_s;      /* Unix time */
	uint64_t generation, failures;  /* good loads so far, and refused ones */
};

struct daemon {
	const char *config_path;
	const char *node_flag; /* --node; NULL: not given */
	struct config config;
	struct clock clock;
	struct loop *loop;
	char pin_directory[CONFIG_PATH_BYTES];
	int lock_fd;
	int64_t started_s;
	uint64_t incarnation;

	struct name_template name;
	struct tls_ctx *tls;
	struct cred_info cred;
	struct view *view;
	struct stat nodes_stat; /* of the nodes file when it was read last */
	struct reload_state config_state, cred_state, view_state;

	struct edge_netns *netns;
	struct capture *capture;
	struct engine *engine;
	struct status_server *status;
	struct kubernetes *kubernetes; /* NULL: the nodes come from a file */
	struct probe *probe;           /* NULL: metrics.listen is off */

	struct loop_source signals, cred_watch_source, nodes_watch_source, tunnel_listener;
	struct cred_watch *cred_watch, *nodes_watch;
	struct loop_timer reload_timer, missing_timer, accept_pause, stop_timer;
	struct instant reload_since;         /* the first change that the timer is set for */
	bool is_reload_cred, is_reload_view; /* what the timer is set for */
	bool is_draining;
	bool is_asking;  /* told to end, and it is being found out why */
	bool is_leaving; /* Culvert is taken out of this node: when all is drained, so is everything else */
	int failure;     /* what ended the loop; 0: it was told to */
	struct log_limit accept_log;
};

/* Does it carry traffic, or could it, whether or not the node is enrolled? Else one sentence in text: the first thing that is missing. */
bool daemon_is_working(const struct daemon *d, char text[EDGE_ERROR_BYTES]);
/* And all that Kubernetes has to say to it. */
bool daemon_is_ready(const struct daemon *d, char text[EDGE_ERROR_BYTES]);

/* Programs, workers and listeners start as soon as all that they need is there; until then what an earlier daemon pinned stays in force. A
 * failure ends the daemon. */
void daemon_start_when_complete(struct daemon *d);

/* Starts what reload_first has read, runs until it is told to end, and takes everything down again. 0 or -errno, logged. */
int daemon_run(struct daemon *d);

/* Takes out all that a daemon left in the kernel. It must not run. 0 or -errno, logged. */
int daemon_remove(struct daemon *d);

#endif
