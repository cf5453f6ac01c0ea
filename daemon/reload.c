/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "reload.h"

#include "base/log.h"
#include "cluster/file.h"
#include "kubernetes.h"
#include "settings.h"

#include <errno.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

enum {
	DELAY_MS = 200,      /* files of one change are written one after the other */
	DELAY_MAX_MS = 1000, /* ones that change all the time are read all the same */
	MISSING_MS = 10000,  /* the first certificates: also a time that comes may make them good */
};

/* --- what became of a try --- */

static void set_failed(struct reload_state *s, const char *error)
{
	s->tried_s = time(NULL);
	s->failures++;
	snprintf(s->error, sizeof(s->error), "%s", error);
}

static void set_good(struct reload_state *s)
{
	s->tried_s = s->loaded_s = time(NULL);
	s->error[0] = '\0';
	s->generation++;
}

/* --- loading --- */

/* Named after our own pod, which is the one that the API server says runs here: what it says of us is what it says to the others. */
static int load_certificates_of_pod(struct daemon *d, struct tls_ctx **ret_ctx, struct cred_info *ret_info, char error[CRED_ERROR_BYTES])
{
	const struct view_node *self = d->view ? view_self(d->view) : NULL;
	struct tls_name own;
	int r = -ENOENT;

	if (!self || !self->daemons_count) {
		snprintf(error, CRED_ERROR_BYTES,
		         "identity.peer_name: the API server has not told yet which pod of Culvert runs on this node");
		return r;
	}
	for (size_t i = 0; i < self->daemons_count && r; i++) {
		if (name_of_daemon(&d->name, self, i, &own)) {
			snprintf(error, CRED_ERROR_BYTES, "identity.peer_name: the name of pod %.100s is longer than %d bytes",
			         self->daemons[i].pod, TLS_NAME_BYTES - 1);
			return -EINVAL;
		}
		r = cred_load(d->config.identity.directory, &own, ret_ctx, ret_info, error);
	}
	return r;
}

static int load_certificates(struct daemon *d, struct tls_ctx **ret_ctx, struct cred_info *ret_info, char error[CRED_ERROR_BYTES])
{
	struct tls_name own;

	if (d->name.is_shared)
		return cred_load(d->config.identity.directory, NULL, ret_ctx, ret_info, error);
	if (d->name.is_of_pod)
		return load_certificates_of_pod(d, ret_ctx, ret_info, error);
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

/* --- the first time --- */

static int refuse(int error, const char *text)
{
	fprintf(stderr, "culvertd: %s\n", text);
	return error;
}

int reload_first_settings(struct daemon *d)
{
	char error[CONFIG_ERROR_BYTES];
	int r = config_load(d->config_path, d->node_flag, &d->config, error);

	if (r)
		return refuse(r, error);
	set_good(&d->config_state);
	settings_pin_directory(&d->config, d->pin_directory);
	return 0;
}

int reload_first(struct daemon *d)
{
	char error[CONFIG_ERROR_BYTES];
	int r = reload_first_settings(d);

	if (r)
		return r;
	log_set_level(d->config.log.level);
	if (d->config.nodes.is_kubernetes ? name_template_parse_kubernetes(d->config.identity.peer_name, &d->name, error)
	                                  : name_template_parse(d->config.identity.peer_name, &d->name, error)) {
		fprintf(stderr, "culvertd: %s:%u: identity.peer_name: %s\n", d->config_path, config_line(&d->config, "identity.peer_name"),
		        error);
		return -EINVAL;
	}
	if ((d->name.is_shared || d->name.is_of_pod) && d->config.identity.signer[0]) {
		fprintf(stderr,
		        "culvertd: %s:%u: identity.signer: the daemon asks for a name of its node, so identity.peer_name must be a template with "
		        "{node} and no other word\n",
		        d->config_path, config_line(&d->config, "identity.signer"));
		return -EINVAL;
	}
	r = load_certificates(d, &d->tls, &d->cred, error);
	if (r && !d->config.nodes.is_kubernetes)
		return refuse(r, error);
	if (r)
		set_failed(&d->cred_state, error);
	else
		set_good(&d->cred_state);
	if (d->config.nodes.is_kubernetes)
		return 0;
	(void)stat(d->config.nodes.file, &d->nodes_stat);
	r = load_view(d, &d->config, &d->view, error);
	if (r)
		return refuse(r, error);
	set_good(&d->view_state);
	return 0;
}

void reload_done(struct daemon *d)
{
	view_unref(d->view);
	d->view = NULL;
	tls_ctx_unref(d->tls);
	d->tls = NULL;
	config_done(&d->config);
}

/* --- again --- */

static void on_certificates_failed(struct daemon *d, const char *error)
{
	bool is_new = strcmp(d->cred_state.error, error) != 0;

	set_failed(&d->cred_state, error);
	if (d->tls) {
		log_error("kept the old certificates", L_TEXT("detail", error));
		return;
	}
	if (is_new)
		log_warn("no certificate yet", L_TEXT("detail", error));
	(void)loop_timer_set(d->loop, &d->missing_timer, instant_add_ms(loop_now(d->loop), MISSING_MS));
}

static void reload_certificates(struct daemon *d)
{
	char error[CRED_ERROR_BYTES];
	struct cred_info info;
	struct tls_ctx *ctx;

	if (load_certificates(d, &ctx, &info, error)) {
		on_certificates_failed(d, error);
		return;
	}
	if (d->tls && !memcmp(info.digest, d->cred.digest, sizeof(info.digest))) {
		tls_ctx_unref(ctx);
		d->cred_state.error[0] = '\0';
		return;
	}
	tls_ctx_unref(d->tls);
	d->tls = ctx;
	d->cred = info;
	set_good(&d->cred_state);
	if (d->engine)
		engine_set_tls(d->engine, d->tls, d->cred.self.not_after_s);
	log_info("new certificates", L_TEXT("name", info.self.names_count ? info.self.names[0].text : ""),
	         L_TEXT("serial", info.self.serial), L_I64("not_after_s", info.self.not_after_s));
	daemon_start_when_complete(d);
}

static void on_missing_timer(struct loop_timer *t)
{
	struct daemon *d = container_of(t, struct daemon, missing_timer);

	if (!d->tls)
		reload_certificates(d);
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

int reload_set_view(struct daemon *d, struct view *v)
{
	/* The kernel first: what it diverts must have an owner in the workers' view a moment later, and waits there until it has. */
	int r = d->engine ? capture_set_view(d->capture, v) : 0;

	if (r) {
		set_failed(&d->view_state, capture_view_fault(d->capture));
		return r;
	}
	if (d->engine)
		engine_set_view(d->engine, v);
	view_ref(v);
	view_unref(d->view);
	d->view = v;
	set_good(&d->view_state);
	if (!d->tls && d->name.is_of_pod)
		reload_certificates(d);
	daemon_start_when_complete(d);
	return 0;
}

static void reload_view(struct daemon *d, const struct config *c)
{
	char error[VIEW_ERROR_BYTES];
	struct view *v;

	if (load_view(d, c, &v, error)) {
		set_failed(&d->view_state, error);
		log_error("kept the old nodes", L_TEXT("detail", error));
		return;
	}
	if (reload_set_view(d, v) == 0)
		log_info("new nodes", L_U64("nodes", view_nodes_count(v)));
	view_unref(v);
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
		{ "kernel", strcmp(old->kernel.bpffs, fresh->kernel.bpffs) != 0 || strcmp(old->kernel.sysctl, fresh->kernel.sysctl) != 0 },
		{ "identity.directory", strcmp(old->identity.directory, fresh->identity.directory) != 0 },
		{ "identity.peer_name", strcmp(old->identity.peer_name, fresh->identity.peer_name) != 0 },
		{ "identity.signer", strcmp(old->identity.signer, fresh->identity.signer) != 0 },
		{ "nodes.file", strcmp(old->nodes.file, fresh->nodes.file) != 0 },
		{ "nodes.kubernetes",
		  old->nodes.is_kubernetes != fresh->nodes.is_kubernetes ||
		          strcmp(old->nodes.kubernetes.kubeconfig, fresh->nodes.kubernetes.kubeconfig) != 0 ||
		          strcmp(old->nodes.kubernetes.name_space, fresh->nodes.kubernetes.name_space) != 0 ||
		          strcmp(old->nodes.kubernetes.records_namespace, fresh->nodes.kubernetes.records_namespace) != 0 ||
		          strcmp(old->nodes.kubernetes.daemonset, fresh->nodes.kubernetes.daemonset) != 0 },
		{ "metrics.listen", old->metrics.listen.is_on != fresh->metrics.listen.is_on ||
		                            !endpoint_equal(&old->metrics.listen.endpoint, &fresh->metrics.listen.endpoint) },
		{ "tunnel", old->tunnel.port != fresh->tunnel.port || old->tunnel.workers != fresh->tunnel.workers ||
		                    old->tunnel.tunnels_per_peer != fresh->tunnel.tunnels_per_peer ||
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

/* Those of nodes.kubernetes that change at once. */
static void take_cluster_settings(struct config *to, struct config *from)
{
	struct config_prefixes ranges = to->nodes.kubernetes.service_ranges;

	to->nodes.kubernetes.pod_ranges = from->nodes.kubernetes.pod_ranges;
	to->nodes.kubernetes.allow_pod_opt_out = from->nodes.kubernetes.allow_pod_opt_out;
	to->nodes.kubernetes.service_ranges = from->nodes.kubernetes.service_ranges;
	from->nodes.kubernetes.service_ranges = ranges;
}

static void reload_config(struct daemon *d)
{
	char error[CONFIG_ERROR_BYTES];
	struct capture_settings settings;
	struct capture_exclude *items;
	struct config fresh;

	if (config_load(d->config_path, d->node_flag, &fresh, error)) {
		set_failed(&d->config_state, error);
		log_error("kept the old configuration", L_TEXT("detail", error));
		return;
	}
	items = calloc(fresh.capture.exclude.count + 1, sizeof(*items));
	if (!items) {
		config_done(&fresh);
		return;
	}
	settings_capture(&fresh, d->pin_directory, items, &settings);
	settings.workers = settings_workers(&d->config);
	settings.tunnel_port = (uint16_t)d->config.tunnel.port;
	if (d->engine && capture_apply(d->capture, &settings, error)) {
		set_failed(&d->config_state, error);
		log_error("kept the old configuration", L_TEXT("detail", error));
		config_done(&fresh);
	} else {
		warn_of_fixed_settings(&d->config, &fresh);
		/* Only what was applied changes, so that what runs and what is shown are the same. */
		struct config old = d->config;

		d->config.capture = fresh.capture;
		d->config.log = fresh.log;
		fresh.capture = old.capture;
		take_cluster_settings(&d->config, &fresh);
		config_done(&fresh);
		log_set_level(d->config.log.level);
		set_good(&d->config_state);
		log_info("new configuration");
		if (d->engine)
			engine_set_settings_hash(d->engine, settings_hash(&d->config));
		/* cluster_pods and the mode say what the view is to be. */
		if (d->kubernetes)
			kubernetes_apply(d);
		else
			reload_view(d, &d->config);
	}
	free(items);
}

/* --- when --- */

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
	struct instant now = loop_now(d->loop), deadline = instant_add_ms(now, DELAY_MS), last;

	if (!d->reload_timer.heap_index)
		d->reload_since = now;
	last = instant_add_ms(d->reload_since, DELAY_MAX_MS);
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

static int watch(struct daemon *d, const char *directory, struct cred_watch **ret, struct loop_source *src,
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

int reload_start(struct daemon *d)
{
	char nodes_folder[CONFIG_PATH_BYTES];
	int r;

	d->reload_timer.on_expire = on_reload_timer;
	d->missing_timer.on_expire = on_missing_timer;
	if (!d->tls) {
		log_warn("no certificate yet", L_TEXT("detail", d->cred_state.error));
		(void)loop_timer_set(d->loop, &d->missing_timer, instant_add_ms(loop_now(d->loop), MISSING_MS));
	}
	r = watch(d, d->config.identity.directory, &d->cred_watch, &d->cred_watch_source, on_cred_watch);
	if (r)
		return r;
	if (d->config.nodes.is_kubernetes)
		return 0;
	snprintf(nodes_folder, sizeof(nodes_folder), "%s", d->config.nodes.file);
	return watch(d, dirname(nodes_folder), &d->nodes_watch, &d->nodes_watch_source, on_nodes_watch);
}

void reload_stop(struct daemon *d)
{
	if (d->loop) {
		loop_timer_clear(d->loop, &d->reload_timer);
		loop_timer_clear(d->loop, &d->missing_timer);
		loop_remove(d->loop, &d->cred_watch_source);
		loop_remove(d->loop, &d->nodes_watch_source);
	}
	cred_watch_destroy(d->cred_watch);
	cred_watch_destroy(d->nodes_watch);
	d->cred_watch = d->nodes_watch = NULL;
}

void reload_now(struct daemon *d)
{
	log_info("reload");
	reload_config(d);
	reload_certificates(d);
}
