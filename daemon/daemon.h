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

	struct loop_source signals, cred_watch_source, nodes_watch_source, tunnel_listener;
	struct cred_watch *cred_watch, *nodes_watch;
	struct loop_timer reload_timer, accept_pause, stop_timer;
	struct instant reload_since;         /* the first change that the timer is set for */
	bool is_reload_cred, is_reload_view; /* what the timer is set for */
	bool is_draining;
	struct log_limit accept_log;
};

/* Is it ready to carry traffic? Else one sentence in text. */
bool daemon_is_ready(const struct daemon *d, char text[EDGE_ERROR_BYTES]);

/* Starts what reload_first has read, runs until it is told to end, and takes everything down again. 0 or -errno, logged. */
int daemon_run(struct daemon *d);

/* Takes out all that a daemon left in the kernel. It must not run. 0 or -errno, logged. */
int daemon_remove(struct daemon *d);

#endif
