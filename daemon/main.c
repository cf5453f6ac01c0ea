/* SPDX-License-Identifier: GPL-3.0-or-later */
/* main.c - flags, start-up in order with reverse undo, signals, reload, orderly stop. The only file that knows every module. */
#include "base/log.h"
#include "daemon.h"
#include "cluster/file.h"
#include "net/sock.h"
#include "report.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <libgen.h>
#include <sched.h>
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

enum {
	EXIT_USAGE = 2,             /* bad usage, configuration, nodes file or certificates */
	RELOAD_DELAY_MS = 200,      /* files of one change are written one after the other */
	RELOAD_DELAY_MAX_MS = 1000, /* ones that change all the time are read all the same */
	ACCEPT_PAUSE_MS = 100,
	FILES_WANTED = 1048576,
	TUNNEL_BACKLOG = 1024,
};

/* --- settings --- */

static void reload_failed(struct reload_state *s, const char *error)
{
	s->tried_s = time(NULL);
	snprintf(s->error, sizeof(s->error), "%s", error);
}

static void reload_done(struct reload_state *s)
{
	s->tried_s = s->loaded_s = time(NULL);
	s->error[0] = '\0';
	s->generation++;
}

static uint32_t workers_of(const struct config *c)
{
	cpu_set_t cpus;
	uint32_t n = c->tunnel.workers;

	if (!n)
		n = sched_getaffinity(0, sizeof(cpus), &cpus) ? 1 : (uint32_t)CPU_COUNT(&cpus);
	return n > ENGINE_WORKERS_MAX ? ENGINE_WORKERS_MAX : n;
}

/* Folder names under the bpffs take no dot. */
static void pin_directory_of(const struct config *c, char ret[CONFIG_PATH_BYTES])
{
	const char *base = strrchr(c->runtime_directory, '/');
	int prefix;

	prefix = snprintf(ret, CONFIG_PATH_BYTES, "/sys/fs/bpf/");
	snprintf(ret + prefix, CONFIG_PATH_BYTES - (size_t)prefix, "%s", base ? base + 1 : c->runtime_directory);
	for (char *p = ret + prefix; *p; p++) {
		if (*p == '.')
			*p = '_';
	}
}

/* exclude is borrowed from c and converted into items, which has room for all of it. */
static void capture_settings_of(const struct daemon *d, const struct config *c, struct capture_exclude *items, struct capture_settings *ret)
{
	for (size_t i = 0; i < c->capture.exclude.count; i++) {
		const struct config_exclude *e = &c->capture.exclude.items[i];

		items[i] = (struct capture_exclude){ .is_port = e->is_port, .prefix = e->prefix, .port = e->port };
	}
	*ret = (struct capture_settings){
		.mode = c->capture.mode == CONFIG_PERMISSIVE ? CAPTURE_PERMISSIVE
		        : c->capture.mode == CONFIG_STRICT   ? CAPTURE_STRICT
		                                             : CAPTURE_LOCKDOWN,
		.is_older_reset = c->capture.older_flows == CONFIG_OLDER_RESET,
		.devices = (const char *const *)c->capture.devices.names,
		.devices_count = c->capture.devices.count,
		.exclude = items,
		.exclude_count = c->capture.exclude.count,
		.tunnel_port = (uint16_t)c->tunnel.port,
		.workers = workers_of(c),
		.pin_directory = d->pin_directory,
	};
}

static int load_certificates(struct daemon *d, struct tls_ctx **ret_ctx, struct cred_info *ret_info, char error[CRED_ERROR_BYTES])
{
	struct tls_name own;

	if (d->name.is_shared)
		return cred_load(d->config.identity.directory, NULL, ret_ctx, ret_info, error);
	if (name_of_node(&d->name, d->config.node, &own)) {
		snprintf(error, CRED_ERROR_BYTES, "identity.peer_name: the name of node %.100s is longer than %d bytes", d->config.node,
		         TLS_NAME_BYTES - 1);
		return -EINVAL;
	}
	return cred_load(d->config.identity.directory, &own, ret_ctx, ret_info, error);
}

static int load_view(const struct daemon *d, const struct config *c, struct view **ret, char error[VIEW_ERROR_BYTES])
{
	return nodes_file_load(c->nodes.file, c->capture.cluster_pods.items, c->capture.cluster_pods.count, c->node, d->view, ret, error);
}

/* Everything that can be judged without touching the machine. 0, or EXIT_USAGE after one line on standard error. */
static int load_all(struct daemon *d)
{
	char error[CONFIG_ERROR_BYTES];

	if (config_load(d->config_path, &d->config, error)) {
		fprintf(stderr, "culvertd: %s\n", error);
		return EXIT_USAGE;
	}
	reload_done(&d->config_state);
	log_set_level(d->config.log.level);
	pin_directory_of(&d->config, d->pin_directory);
	if (name_template_parse(d->config.identity.peer_name, &d->name, error)) {
		fprintf(stderr, "culvertd: %s:%u: identity.peer_name: %s\n", d->config_path, config_line(&d->config, "identity.peer_name"),
		        error);
		return EXIT_USAGE;
	}
	if (load_certificates(d, &d->tls, &d->cred, error)) {
		fprintf(stderr, "culvertd: %s\n", error);
		return EXIT_USAGE;
	}
	reload_done(&d->cred_state);
	(void)stat(d->config.nodes.file, &d->nodes_stat);
	if (load_view(d, &d->config, &d->view, error)) {
		fprintf(stderr, "culvertd: %s\n", error);
		return EXIT_USAGE;
	}
	reload_done(&d->view_state);
	return 0;
}

/* --- reload --- */

static void reload_certificates(struct daemon *d)
{
	char error[CRED_ERROR_BYTES];
	struct cred_info info;
	struct tls_ctx *ctx;

	if (load_certificates(d, &ctx, &info, error)) {
		reload_failed(&d->cred_state, error);
		log_error("kept the old certificates", L_TEXT("detail", error));
		return;
	}
	if (!memcmp(info.digest, d->cred.digest, sizeof(info.digest))) {
		tls_ctx_unref(ctx);
		d->cred_state.error[0] = '\0';
		return;
	}
	tls_ctx_unref(d->tls);
	d->tls = ctx;
	d->cred = info;
	reload_done(&d->cred_state);
	engine_set_tls(d->engine, d->tls, d->cred.self.not_after_s);
	log_info("new certificates", L_TEXT("name", info.self.names_count ? info.self.names[0].text : ""),
	         L_TEXT("serial", info.self.serial), L_I64("not_after_s", info.self.not_after_s));
}

/* The folder is watched, and other files may live in it: only a nodes file that is another one, or has other contents, is read. */
static bool has_nodes_file_changed(struct daemon *d)
{
	struct stat now;

	if (stat(d->config.nodes.file, &now))
		return true; /* reading it says what is wrong */
	if (now.st_ino == d->nodes_stat.st_ino && now.st_dev == d->nodes_stat.st_dev && now.st_size == d->nodes_stat.st_size &&
	    now.st_mtim.tv_sec == d->nodes_stat.st_mtim.tv_sec && now.st_mtim.tv_nsec == d->nodes_stat.st_mtim.tv_nsec)
		return false;
	d->nodes_stat = now;
	return true;
}

static void reload_view(struct daemon *d, const struct config *c)
{
	char error[VIEW_ERROR_BYTES];
	struct view *v;
	int r;

	if (load_view(d, c, &v, error)) {
		reload_failed(&d->view_state, error);
		log_error("kept the old nodes", L_TEXT("detail", error));
		return;
	}
	/* The kernel first: what it diverts must have an owner in the workers' view a moment later, and waits there until it has. */
	r = capture_set_view(d->capture, v);
	if (r) {
		reload_failed(&d->view_state, strerror(-r));
		log_error("kept the old nodes: the kernel's map did not take the new ones", L_ERRNO(r));
		view_unref(v);
		return;
	}
	engine_set_view(d->engine, v);
	view_unref(d->view);
	d->view = v;
	reload_done(&d->view_state);
	log_info("new nodes", L_U64("nodes", view_nodes_count(v)));
}

/* Settings that only a restart changes: named where they differ. */
static void warn_of_fixed_settings(const struct config *old, const struct config *fresh)
{
	struct {
		const char *key;
		bool differs;
	} const fixed[] = {
		{ "node", strcmp(old->node, fresh->node) != 0 },
		{ "runtime_directory", strcmp(old->runtime_directory, fresh->runtime_directory) != 0 },
		{ "identity.directory", strcmp(old->identity.directory, fresh->identity.directory) != 0 },
		{ "identity.peer_name", strcmp(old->identity.peer_name, fresh->identity.peer_name) != 0 },
		{ "nodes.file", strcmp(old->nodes.file, fresh->nodes.file) != 0 },
		{ "tunnel", old->tunnel.port != fresh->tunnel.port || old->tunnel.workers != fresh->tunnel.workers ||
		                    old->tunnel.peer_timeout_ms != fresh->tunnel.peer_timeout_ms ||
		                    old->tunnel.drain_timeout_ms != fresh->tunnel.drain_timeout_ms ||
		                    old->tunnel.idle_timeout_ms != fresh->tunnel.idle_timeout_ms ||
		                    old->tunnel.memory_bytes != fresh->tunnel.memory_bytes },
	};

	for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++) {
		if (fixed[i].differs)
			log_warn("this setting changes with a restart only", L_TEXT("key", fixed[i].key));
	}
}

static void reload_config(struct daemon *d)
{
	char error[CONFIG_ERROR_BYTES];
	struct capture_settings settings;
	struct capture_exclude *items;
	struct config fresh;

	if (config_load(d->config_path, &fresh, error)) {
		reload_failed(&d->config_state, error);
		log_error("kept the old configuration", L_TEXT("detail", error));
		return;
	}
	items = calloc(fresh.capture.exclude.count + 1, sizeof(*items));
	if (!items) {
		config_done(&fresh);
		return;
	}
	capture_settings_of(d, &fresh, items, &settings);
	settings.workers = workers_of(&d->config);
	settings.tunnel_port = (uint16_t)d->config.tunnel.port;
	if (capture_apply(d->capture, &settings, error)) {
		reload_failed(&d->config_state, error);
		log_error("kept the old configuration", L_TEXT("detail", error));
		config_done(&fresh);
	} else {
		warn_of_fixed_settings(&d->config, &fresh);
		/* Only what was applied changes, so that what runs and what is shown are the same. */
		struct config old = d->config;

		d->config.capture = fresh.capture;
		d->config.log = fresh.log;
		fresh.capture = old.capture;
		config_done(&fresh);
		log_set_level(d->config.log.level);
		reload_done(&d->config_state);
		log_info("new configuration");
		reload_view(d, &d->config); /* cluster_pods may differ */
	}
	free(items);
}

static void on_reload_timer(struct loop_timer *t)
{
	struct daemon *d = container_of(t, struct daemon, reload_timer);

	if (d->is_reload_cred)
		reload_certificates(d);
	if (d->is_reload_view && has_nodes_file_changed(d))
		reload_view(d, &d->config);
	d->is_reload_cred = d->is_reload_view = false;
}

static void reload_later(struct daemon *d)
{
	struct instant now = loop_now(d->loop), deadline = instant_add_ms(now, RELOAD_DELAY_MS), last;

	if (!d->reload_timer.heap_index)
		d->reload_since = now;
	last = instant_add_ms(d->reload_since, RELOAD_DELAY_MAX_MS);
	(void)loop_timer_set(d->loop, &d->reload_timer, instant_before(last, deadline) ? last : deadline);
}

static void on_cred_watch(struct loop_source *src, uint32_t events)
{
	struct daemon *d = container_of(src, struct daemon, cred_watch_source);

	(void)events;
	cred_watch_drain(d->cred_watch);
	d->is_reload_cred = true;
	reload_later(d);
}

static void on_nodes_watch(struct loop_source *src, uint32_t events)
{
	struct daemon *d = container_of(src, struct daemon, nodes_watch_source);

	(void)events;
	cred_watch_drain(d->nodes_watch);
	d->is_reload_view = true;
	reload_later(d);
}

/* --- other nodes' connections --- */

static void on_accept_pause_over(struct loop_timer *t)
{
	struct daemon *d = container_of(t, struct daemon, accept_pause);

	if (!d->is_draining)
		(void)loop_add(d->loop, &d->tunnel_listener, EPOLLIN);
}

static void on_tunnel_listener(struct loop_source *src, uint32_t events)
{
	struct daemon *d = container_of(src, struct daemon, tunnel_listener);
	struct endpoint from;
	uint32_t kept_back;
	int fd;

	(void)events;
	fd = sock_accept(src->fd, &from, NULL);
	if (fd >= 0) {
		engine_accept(d->engine, fd, &from);
		return;
	}
	if (fd != -EMFILE && fd != -ENFILE && fd != -ENOBUFS && fd != -ENOMEM)
		return; /* none there, or gone again */
	loop_remove(d->loop, src);
	(void)loop_timer_set(d->loop, &d->accept_pause, instant_add_ms(loop_now(d->loop), ACCEPT_PAUSE_MS));
	if (log_limit_allow(&d->accept_log, loop_now(d->loop).ns, &kept_back))
		log_warn("no more tunnels for now: raise the limit of open files", L_ERRNO(fd), L_U64("kept_back", kept_back));
}

static void on_want_tunnel(void *ctx, uint32_t node_id)
{
	struct daemon *d = ctx;

	engine_want_peer(d->engine, node_id);
}

static void on_peer_up(void *ctx, uint32_t node_id, bool is_up)
{
	struct daemon *d = ctx;
	int r = capture_set_peer_up(d->capture, node_id, is_up);

	if (r)
		log_warn("the kernel was not told whether a tunnel is up", L_U64("node_id", node_id), L_ERRNO(r));
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

static void on_signal(struct loop_source *src, uint32_t events)
{
	struct daemon *d = container_of(src, struct daemon, signals);
	struct signalfd_siginfo info;

	(void)events;
	while (read(src->fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGHUP) {
			log_info("reload");
			reload_config(d);
			reload_certificates(d);
			continue;
		}
		if (d->is_draining) {
			loop_stop(d->loop);
			continue;
		}
		d->is_draining = true;
		log_info("ending: running streams may finish", L_U64("drain_timeout_ms", d->config.tunnel.drain_timeout_ms));
		loop_timer_clear(d->loop, &d->accept_pause);
		loop_remove(d->loop, &d->tunnel_listener);
		close(d->tunnel_listener.fd);
		d->tunnel_listener.fd = -1;
		(void)loop_timer_set(d->loop, &d->stop_timer, instant_add_ms(loop_now(d->loop), d->config.tunnel.drain_timeout_ms + 5000));
		engine_drain(d->engine);
	}
}

bool daemon_is_ready(const struct daemon *d, char text[EDGE_ERROR_BYTES])
{
	if (d->is_draining) {
		snprintf(text, EDGE_ERROR_BYTES, "the daemon is ending");
		return false;
	}
	if (d->cred.self.not_after_s <= time(NULL)) {
		snprintf(text, EDGE_ERROR_BYTES, "the node's certificate has expired");
		return false;
	}
	return capture_is_healthy(d->capture, text);
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

static int start_watch(struct daemon *d, const char *directory, struct cred_watch **ret, struct loop_source *src,
                       void (*on_event)(struct loop_source *src, uint32_t events))
{
	int r = cred_watch_create(directory, ret);

	if (!r) {
		*src = (struct loop_source){ .fd = cred_watch_fd(*ret), .on_event = on_event };
		r = loop_add(d->loop, src, EPOLLIN);
	}
	if (r)
		log_error("a folder can not be watched", L_TEXT("path", directory), L_ERRNO(r));
	return r;
}

static int start_engine(struct daemon *d)
{
	struct engine_settings s = {
		.workers = workers_of(&d->config),
		.host_netns_fd = edge_netns_host_fd(d->netns),
		.private_netns_fd = edge_netns_fd(d->netns),
		.memory_bytes = d->config.tunnel.memory_bytes,
		.pool = {
			.incarnation = d->incarnation,
			.tunnel_port = (uint16_t)d->config.tunnel.port,
			.name = d->name,
			.peer_timeout_ms = (uint32_t)d->config.tunnel.peer_timeout_ms,
			.idle_timeout_ms = (uint32_t)d->config.tunnel.idle_timeout_ms,
			.drain_timeout_ms = (uint32_t)d->config.tunnel.drain_timeout_ms,
			.settings_hash = 1 + (uint64_t)d->config.capture.mode,
		},
	};
	struct engine_ops ops = { .peer_up = on_peer_up, .drained = on_drained };

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
	capture_settings_of(d, &d->config, items, &s);
	r = capture_create(&s, d->netns, d->loop, on_want_tunnel, d, &d->capture, error);
	free(items);
	if (r)
		log_error("interception does not start", L_TEXT("detail", error), L_ERRNO(r));
	return r;
}

static int start_listeners(struct daemon *d)
{
	static const int families[2] = { AF_INET, AF_INET6 };

	/* Other nodes first: a stream that begins needs a tunnel. */
	d->tunnel_listener = (struct loop_source){ .fd = sock_listen_tunnel((uint16_t)d->config.tunnel.port, TUNNEL_BACKLOG),
		                                   .on_event = on_tunnel_listener };
	if (d->tunnel_listener.fd < 0) {
		log_error("the tunnel port can not be listened on", L_U64("port", d->config.tunnel.port), L_ERRNO(d->tunnel_listener.fd));
		return d->tunnel_listener.fd;
	}
	for (uint32_t w = 0; w < engine_workers(d->engine); w++) {
		for (int i = 0; i < 2; i++) {
			int fd = engine_listener_fd(d->engine, w, families[i]);
			int r = fd < 0 ? 0 : capture_set_listener(d->capture, w, families[i], fd);

			if (r) {
				log_error("a listener can not be given to the kernel", L_U64("worker", w), L_ERRNO(r));
				return r;
			}
		}
	}
	return loop_add(d->loop, &d->tunnel_listener, EPOLLIN);
}

static int start(struct daemon *d)
{
	char error[EDGE_ERROR_BYTES], nodes_folder[CONFIG_PATH_BYTES];
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
	r = edge_netns_create(&d->netns, error);
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
	r = start_listeners(d);
	if (r)
		return r;
	r = start_watch(d, d->config.identity.directory, &d->cred_watch, &d->cred_watch_source, on_cred_watch);
	if (r)
		return r;
	snprintf(nodes_folder, sizeof(nodes_folder), "%s", d->config.nodes.file);
	r = start_watch(d, dirname(nodes_folder), &d->nodes_watch, &d->nodes_watch_source, on_nodes_watch);
	if (r)
		return r;
	return report_start(d);
}

static void stop(struct daemon *d)
{
	report_stop(d);
	if (d->tunnel_listener.fd >= 0) {
		if (d->loop)
			loop_remove(d->loop, &d->tunnel_listener);
		close(d->tunnel_listener.fd);
	}
	engine_destroy(d->engine);
	if (d->capture)
		capture_destroy(d->capture);
	edge_netns_destroy(d->netns);
	if (d->loop) {
		loop_remove(d->loop, &d->cred_watch_source);
		loop_remove(d->loop, &d->nodes_watch_source);
		loop_remove(d->loop, &d->signals);
	}
	cred_watch_destroy(d->cred_watch);
	cred_watch_destroy(d->nodes_watch);
	if (d->signals.fd >= 0)
		close(d->signals.fd);
	loop_destroy(d->loop);
	view_unref(d->view);
	tls_ctx_unref(d->tls);
	config_done(&d->config);
	if (d->lock_fd >= 0)
		close(d->lock_fd);
}

static int run(struct daemon *d)
{
	char detail[EDGE_ERROR_BYTES] = "";
	int r;

	raise_limits();
	(void)prctl(PR_SET_DUMPABLE, 0); /* the node's key is in our memory */
	r = start(d);
	if (!r) {
		bool is_ready = daemon_is_ready(d, detail);

		LOG_AT(is_ready ? LOG_INFO : LOG_ERROR, is_ready ? "ready" : "not ready", L_TEXT("node", d->config.node),
		       L_TEXT("version", CULVERT_VERSION), L_U64("nodes", view_nodes_count(d->view)),
		       L_U64("workers", engine_workers(d->engine)), L_TEXT("detail", detail));
		r = loop_run(d->loop);
		log_info("ended");
	}
	stop(d);
	return r ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* Takes out all that a daemon left in the kernel. It must not run. */
static int remove_all(struct daemon *d)
{
	char error[EDGE_ERROR_BYTES], path[CONFIG_PATH_BYTES];
	int r = take_lock(d);

	if (!r && (r = capture_remove(d->pin_directory, error)))
		log_error("the programs can not be taken out", L_TEXT("detail", error), L_ERRNO(r));
	if (!r && (r = edge_netns_remove_leftovers(error)))
		log_error("the veth pair can not be taken out", L_TEXT("detail", error), L_ERRNO(r));
	if (!r) {
		snprintf(path, sizeof(path), "%s/lock", d->config.runtime_directory);
		(void)unlink(path);
		snprintf(path, sizeof(path), "%s/status.sock", d->config.runtime_directory);
		(void)unlink(path);
		(void)rmdir(d->config.runtime_directory); /* stays where something else is in it */
	}
	if (d->lock_fd >= 0)
		close(d->lock_fd);
	config_done(&d->config);
	return r ? EXIT_FAILURE : EXIT_SUCCESS;
}

static void usage(FILE *out)
{
	fprintf(out, "usage: culvertd --config FILE [--check | --remove]\n"
	             "       culvertd --settings | --version | --help\n"
	             "\n"
	             "  --config FILE  the configuration (YAML); runs in the foreground and logs to standard error\n"
	             "  --check        only checks configuration, nodes file and certificates\n"
	             "  --remove       takes every program, device, rule and pin of a daemon that has ended out of the node\n"
	             "  --settings     prints all settings with their defaults, as a table in Markdown\n"
	             "TERM ends it in order (again: at once), HUP reloads. Exit status 2: bad usage or configuration.\n");
}

int main(int argc, char **argv)
{
	enum { OPT_CONFIG = 'c', OPT_CHECK, OPT_REMOVE, OPT_SETTINGS, OPT_VERSION, OPT_HELP };
	static const struct option options[] = {
		{ "config", required_argument, NULL, OPT_CONFIG },
		{ "check", no_argument, NULL, OPT_CHECK },
		{ "remove", no_argument, NULL, OPT_REMOVE },
		{ "settings", no_argument, NULL, OPT_SETTINGS },
		{ "version", no_argument, NULL, OPT_VERSION },
		{ "help", no_argument, NULL, OPT_HELP },
		{ NULL, 0, NULL, 0 },
	};
	struct daemon d = { .lock_fd = -1, .signals.fd = -1, .tunnel_listener.fd = -1, .started_s = time(NULL) };
	bool is_check = false, is_remove = false;
	char error[CONFIG_ERROR_BYTES];
	int opt, r;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (opt) {
		case OPT_CONFIG:
			d.config_path = optarg;
			break;
		case OPT_CHECK:
			is_check = true;
			break;
		case OPT_REMOVE:
			is_remove = true;
			break;
		case OPT_SETTINGS:
			config_describe(stdout);
			return EXIT_SUCCESS;
		case OPT_VERSION:
			printf("culvertd %s\n", CULVERT_VERSION);
			return EXIT_SUCCESS;
		case OPT_HELP:
			usage(stdout);
			return EXIT_SUCCESS;
		default:
			usage(stderr);
			return EXIT_USAGE;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "culvertd: unexpected argument \"%s\"\n", argv[optind]);
		usage(stderr);
		return EXIT_USAGE;
	}
	if (!d.config_path || (is_check && is_remove)) {
		fprintf(stderr, "culvertd: %s\n", d.config_path ? "--check and --remove exclude each other" : "--config FILE is needed");
		usage(stderr);
		return EXIT_USAGE;
	}
	clock_init(&d.clock);
	d.reload_timer.on_expire = on_reload_timer;
	d.accept_pause.on_expire = on_accept_pause_over;
	d.stop_timer.on_expire = on_stop_timer;
	d.accept_log = (struct log_limit){ .interval_ns = 10 * NS_PER_S, .burst = 5 };
	if (is_remove) {
		/* Certificates and nodes may be gone already. */
		if (config_load(d.config_path, &d.config, error)) {
			fprintf(stderr, "culvertd: %s\n", error);
			return EXIT_USAGE;
		}
		pin_directory_of(&d.config, d.pin_directory);
		return remove_all(&d);
	}
	r = tls_init();
	if (r) {
		fprintf(stderr, "culvertd: the TLS library does not start: %s\n", strerror(-r));
		return EXIT_FAILURE;
	}
	r = load_all(&d);
	if (!r && !is_check)
		return run(&d);
	if (!r)
		printf("%s: good: node %s, %zu nodes, certificate %s\n", d.config_path, d.config.node, view_nodes_count(d.view),
		       d.cred.self.names_count ? d.cred.self.names[0].text : "-");
	view_unref(d.view);
	tls_ctx_unref(d.tls);
	config_done(&d.config);
	return r;
}
