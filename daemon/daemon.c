/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon.h"

#include "accept.h"
#include "base/log.h"
#include "kubernetes.h"
#include "probe.h"
#include "reload.h"
#include "report.h"
#include "settings.h"
#include "tls/generation.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { FILES_WANTED = 1048576 };

bool daemon_is_working(const struct daemon *d, char text[EDGE_ERROR_BYTES])
{
	struct identity_state identity;

	if (d->is_draining || d->is_asking) {
		snprintf(text, EDGE_ERROR_BYTES, "the daemon is ending");
		return false;
	}
	if (d->kubernetes && !d->engine && kubernetes_is_missing(d, text))
		return false;
	if (!d->tls && kubernetes_identity(d, &identity) && identity.error[0]) {
		snprintf(text, EDGE_ERROR_BYTES, "no certificate: %.220s", identity.error);
		return false;
	}
	if (!d->tls) {
		snprintf(text, EDGE_ERROR_BYTES, "no certificate: %.200s", d->cred_state.error);
		return false;
	}
	if (d->cred.self.not_after_s <= time(NULL)) {
		snprintf(text, EDGE_ERROR_BYTES, "the node's certificate has expired");
		return false;
	}
	if (!d->engine) {
		snprintf(text, EDGE_ERROR_BYTES, "starting");
		return false;
	}
	return capture_is_healthy(d->capture, text);
}

bool daemon_is_ready(const struct daemon *d, char text[EDGE_ERROR_BYTES])
{
	return daemon_is_working(d, text) && !(d->kubernetes && kubernetes_is_missing(d, text));
}

/* --- what the modules tell --- */

static void on_want_tunnel(void *ctx, uint32_t node_id)
{
	struct daemon *d = ctx;

	engine_want_peer(d->engine, node_id);
}

static void on_peer_reach(void *ctx, const char *node, uint32_t worker, struct pair_reach reach)
{
	struct daemon *d = ctx;
	int r = capture_set_reach(d->capture, node, worker, reach);

	if (r)
		log_warn("the kernel was not told whether a node is reached", L_TEXT("node", node), L_ERRNO(r));
}

static void on_full(void *ctx, uint32_t worker, bool is_full)
{
	struct daemon *d = ctx;
	int r = capture_set_full(d->capture, worker, is_full);

	log_debug(is_full ? "a worker is full" : "a worker has time again", L_U64("worker", worker));
	if (r)
		log_warn("the kernel was not told whether a worker is full", L_U64("worker", worker), L_ERRNO(r));
}

static bool on_next_lane(void *ctx, const char *node, uint32_t home, uint32_t lanes, uint32_t *ret)
{
	struct daemon *d = ctx;
	const struct pairs_lanes all = { .home = home, .workers = engine_workers(d->engine), .lanes = lanes };

	return capture_next_lane(d->capture, node, &all, ret);
}

static enum pair_state on_hear_peer(void *ctx, const char *node, enum pair_state said)
{
	struct daemon *d = ctx;

	return capture_hear_peer(d->capture, node, said);
}

static int on_silence_flow(void *ctx, const char *node, const struct endpoint *local, const struct endpoint *remote, bool is_silent)
{
	struct daemon *d = ctx;

	return capture_silence_flow(d->capture, node, local, remote, is_silent);
}

/* --- end --- */

static void on_drained(void *ctx)
{
	loop_stop(((struct daemon *)ctx)->loop);
}

/* The workers' own deadline should have come; nothing may hold the end up for ever. */
static void on_stop_timer(struct loop_timer *t)
{
	loop_stop(container_of(t, struct daemon, stop_timer)->loop);
}

static void drain(struct daemon *d)
{
	d->is_asking = false;
	d->is_draining = true;
	log_info("ending: running streams may finish", L_U64("drain_timeout_ms", d->config.tunnel.drain_timeout_ms));
	accept_stop(d);
	if (!d->engine) {
		loop_stop(d->loop);
		return;
	}
	(void)loop_timer_set(d->loop, &d->stop_timer, instant_add_ms(loop_now(d->loop), d->config.tunnel.drain_timeout_ms + 5000));
	engine_drain(d->engine);
}

static void on_why(struct daemon *d, bool is_leaving)
{
	d->is_leaving = is_leaving;
	/* New connections go plain before the first is refused by workers that drain. */
	if (is_leaving)
		kubernetes_unenrol(d);
	drain(d);
}

static void on_signal(struct loop_source *src, uint32_t events)
{
	struct daemon *d = container_of(src, struct daemon, signals);
	struct signalfd_siginfo info;

	(void)events;
	while (read(src->fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGHUP) {
			reload_now(d);
			continue;
		}
		if (d->is_draining || d->is_asking) {
			loop_stop(d->loop);
			continue;
		}
		d->is_asking = d->kubernetes != NULL;
		if (!d->is_asking || !kubernetes_ask_why(d, on_why))
			drain(d);
	}
}

/* --- start --- */

static void raise_limits(void)
{
	struct rlimit r = { FILES_WANTED, FILES_WANTED };

	if (setrlimit(RLIMIT_NOFILE, &r) && !getrlimit(RLIMIT_NOFILE, &r)) {
		r.rlim_cur = r.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &r);
	}
	/* BPF maps count against it before Linux 5.11; without CAP_SYS_RESOURCE it may fail, and then is not needed or loading says so. */
	(void)setrlimit(RLIMIT_MEMLOCK, &(struct rlimit){ RLIM_INFINITY, RLIM_INFINITY });
}

static int make_directory(const char *path)
{
	char part[CONFIG_PATH_BYTES];

	snprintf(part, sizeof(part), "%s", path);
	for (char *p = part + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		if (mkdir(part, 0755) && errno != EEXIST)
			return -errno;
		*p = '/';
	}
	return mkdir(part, 0755) && errno != EEXIST ? -errno : 0;
}

static int take_lock(struct daemon *d)
{
	char path[CONFIG_PATH_BYTES];
	int r = make_directory(d->config.runtime_directory);

	if (r) {
		log_error("runtime_directory can not be made", L_TEXT("path", d->config.runtime_directory), L_ERRNO(r));
		return r;
	}
	snprintf(path, sizeof(path), "%s/lock", d->config.runtime_directory);
	d->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (d->lock_fd < 0) {
		r = -errno;
		log_error("the lock can not be made", L_TEXT("path", path), L_ERRNO(r));
		return r;
	}
	if (flock(d->lock_fd, LOCK_EX | LOCK_NB)) {
		r = -errno;
		log_error("another culvertd has this runtime_directory", L_TEXT("path", path), L_ERRNO(r));
		return r;
	}
	return 0;
}

static void release_lock(struct daemon *d)
{
	if (d->lock_fd >= 0)
		close(d->lock_fd);
	d->lock_fd = -1;
}

static int start_signals(struct daemon *d)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	(void)signal(SIGPIPE, SIG_IGN);
	if (sigprocmask(SIG_BLOCK, &set, NULL))
		return -errno;
	d->signals = (struct loop_source){ .fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC), .on_event = on_signal };
	if (d->signals.fd < 0)
		return -errno;
	return loop_add(d->loop, &d->signals, EPOLLIN);
}

static int start_engine(struct daemon *d)
{
	struct engine_settings s = {
		.workers = settings_workers(&d->config),
		.netns = d->netns,
		.passing = capture_passing(d->capture),
		.is_holding = d->config.capture.connect == CONFIG_FAITHFUL,
		.memory_bytes = d->config.tunnel.memory_bytes,
		.pool = {
			.incarnation = d->incarnation,
			.tunnel_port = (uint16_t)d->config.tunnel.port,
			.name = d->name,
			.peer_timeout_ms = (uint32_t)d->config.tunnel.peer_timeout_ms,
			.idle_timeout_ms = (uint32_t)d->config.tunnel.idle_timeout_ms,
			.drain_timeout_ms = (uint32_t)d->config.tunnel.drain_timeout_ms,
			.settings_hash = settings_hash(&d->config),
			.tunnels_per_peer = d->config.tunnel.tunnels_per_peer,
		},
	};
	struct engine_ops ops = {
		.peer_reach = on_peer_reach,
		.hear_peer = on_hear_peer,
		.silence_flow = on_silence_flow,
		.set_full = on_full,
		.next_lane = on_next_lane,
		.drained = on_drained,
	};

	memcpy(s.pool.node, d->config.node, sizeof(s.pool.node));
	return engine_create(d->loop, &s, &ops, d, d->view, d->tls, d->cred.self.not_after_s, &d->engine);
}

static int start_capture(struct daemon *d)
{
	struct capture_exclude *items = calloc(d->config.capture.exclude.count + 1, sizeof(*items));
	char error[EDGE_ERROR_BYTES];
	struct capture_settings s;
	int r;

	if (!items)
		return -ENOMEM;
	settings_capture(&d->config, d->pin_directory, items, &s);
	r = capture_create(&s, d->netns, d->loop, on_want_tunnel, d, &d->capture, error);
	free(items);
	if (r)
		log_error("interception does not start", L_TEXT("detail", error), L_ERRNO(r));
	else
		kubernetes_set_api_servers(d);
	return r;
}

/* Programs, workers and listeners. */
static int start_carrying(struct daemon *d)
{
	char error[EDGE_ERROR_BYTES];
	int r = edge_netns_create(d->config.kernel.sysctl, &d->netns, error);

	if (r) {
		log_error("the private network namespace can not be made", L_TEXT("detail", error), L_ERRNO(r));
		return r;
	}
	/* The programs come before the listeners: while there is none they refuse, and never pass. */
	r = start_capture(d);
	if (r)
		return r;
	r = capture_set_view(d->capture, d->view);
	if (r) {
		log_error("the kernel's map does not take the nodes", L_ERRNO(r));
		return r;
	}
	r = start_engine(d);
	if (r)
		return r;
	return accept_start(d);
}

void daemon_start_when_complete(struct daemon *d)
{
	if (d->netns || !d->view || !d->tls)
		return;
	d->failure = start_carrying(d);
	if (d->failure)
		loop_stop(d->loop);
}

static int start(struct daemon *d)
{
	int r;

	while (!d->incarnation) {
		if (getrandom(&d->incarnation, sizeof(d->incarnation), 0) != sizeof(d->incarnation))
			return -EIO;
	}
	r = take_lock(d);
	if (r)
		return r;
	r = loop_create(&d->clock, &d->loop);
	if (r)
		return r;
	r = start_signals(d);
	if (r)
		return r;
	/* An address that is taken shows before anything is touched. */
	r = probe_start(d);
	if (r)
		return r;
	if (!d->config.nodes.is_kubernetes) {
		r = start_carrying(d);
		if (r)
			return r;
	}
	r = reload_start(d);
	if (r)
		return r;
	r = report_start(d);
	if (r || !d->config.nodes.is_kubernetes)
		return r;
	return kubernetes_start(d);
}

static void stop(struct daemon *d)
{
	report_stop(d);
	probe_stop(d);
	kubernetes_stop(d);
	accept_stop(d);
	engine_destroy(d->engine);
	if (d->capture)
		capture_destroy(d->capture);
	edge_netns_destroy(d->netns);
	reload_stop(d);
	if (d->loop) {
		loop_timer_clear(d->loop, &d->stop_timer);
		loop_remove(d->loop, &d->signals);
	}
	if (d->signals.fd >= 0)
		close(d->signals.fd);
	loop_destroy(d->loop);
}

static void log_readiness(const struct daemon *d)
{
	char detail[EDGE_ERROR_BYTES] = "";
	bool is_ready = daemon_is_ready(d, detail);

	LOG_AT(is_ready ? LOG_INFO : LOG_ERROR, is_ready ? "ready" : "not ready", L_TEXT("node", d->config.node),
	       L_TEXT("version", CULVERT_VERSION), L_U64("nodes", view_nodes_count(d->view)), L_U64("workers", engine_workers(d->engine)),
	       L_TEXT("sealed_by", tls_engine_text()), L_TEXT("detail", detail));
}

static int remove_all(const struct daemon *d)
{
	char error[EDGE_ERROR_BYTES], path[CONFIG_PATH_BYTES];
	int r = capture_remove(d->pin_directory, error);

	if (r)
		log_error("the programs can not be taken out", L_TEXT("detail", error), L_ERRNO(r));
	if (!r && (r = edge_netns_remove_leftovers(error)))
		log_error("the veth pair can not be taken out", L_TEXT("detail", error), L_ERRNO(r));
	if (!r) {
		/* The key that the daemon made itself; mounted files are another's. */
		if (d->config.identity.signer[0])
			generation_remove(d->config.identity.directory);
		snprintf(path, sizeof(path), "%s/lock", d->config.runtime_directory);
		(void)unlink(path);
		snprintf(path, sizeof(path), "%s/status.sock", d->config.runtime_directory);
		(void)unlink(path);
		(void)rmdir(d->config.runtime_directory); /* stays where something else is in it */
	}
	return r;
}

int daemon_run(struct daemon *d)
{
	int r;

	d->stop_timer.on_expire = on_stop_timer;
	raise_limits();
	(void)prctl(PR_SET_DUMPABLE, 0); /* the node's key is in our memory */
	r = start(d);
	if (!r) {
		/* In a cluster it is no fault that much is missing at first: kubernetes says so as it comes. */
		if (!d->kubernetes)
			log_readiness(d);
		r = loop_run(d->loop);
		if (d->failure)
			r = d->failure;
		log_info("ended");
	}
	stop(d);
	if (d->is_leaving && !r) {
		r = remove_all(d);
		if (!r)
			log_info("everything of Culvert is taken out of this node");
	}
	release_lock(d);
	return r;
}

int daemon_remove(struct daemon *d)
{
	int r = take_lock(d);

	if (!r)
		r = remove_all(d);
	release_lock(d);
	return r;
}
