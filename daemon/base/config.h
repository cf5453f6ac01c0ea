/* SPDX-License-Identifier: GPL-3.0-or-later */
/* config.h - the start-up settings: read, checked, printed and described from one table of keys (config_keys.c).
 * Knows the form of every value and nothing of the world: whether a file, a device or a node is there is for those who use it.
 * Plain data; thread: main, and any thread that only reads. */
#ifndef CULVERT_BASE_CONFIG_H
#define CULVERT_BASE_CONFIG_H

#include "base/addr.h"
#include "base/log.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum {
	CONFIG_ERROR_BYTES = 768,
	CONFIG_NODE_BYTES = 254,
	CONFIG_RUNTIME_BYTES = 96, /* with /status.sock behind it, it must fit into a socket's address (108 bytes) */
	CONFIG_PATH_BYTES = 1024,
	CONFIG_PEER_NAME_BYTES = 512,
	CONFIG_DEVICE_BYTES = 16, /* IFNAMSIZ */
	CONFIG_LIST_MAX = 1024,   /* entries of a list */
	CONFIG_SIGNER_BYTES = 512,
	CONFIG_NAME_BYTES = 254, /* of an object in Kubernetes */
	CONFIG_KEYS_MAX = 48,
};

enum config_mode { CONFIG_PERMISSIVE, CONFIG_STRICT, CONFIG_LOCKDOWN };
enum config_connect { CONFIG_OPTIMISTIC, CONFIG_FAITHFUL };
enum config_pod_ranges { CONFIG_RANGES_MARK, CONFIG_RANGES_OWN };
enum config_flag { CONFIG_NO, CONFIG_YES };
enum config_older_flows { CONFIG_OLDER_KEEP, CONFIG_OLDER_RESET };

struct config_devices {
	char **names; /* NULL: auto */
	size_t count;
};

struct config_prefixes {
	struct prefix *items;
	size_t count;
};

struct config_exclude {
	bool is_port;
	struct prefix prefix; /* !is_port */
	uint16_t port;        /* is_port; TCP */
};

struct config_excludes {
	struct config_exclude *items;
	size_t count;
};

struct config_listen {
	bool is_on;
	struct endpoint endpoint;
};

struct config {
	char node[CONFIG_NODE_BYTES];
	char runtime_directory[CONFIG_RUNTIME_BYTES];
	struct {
		char bpffs[CONFIG_RUNTIME_BYTES];
		char sysctl[CONFIG_RUNTIME_BYTES];
	} kernel;
	struct {
		char directory[CONFIG_PATH_BYTES];
		char peer_name[CONFIG_PEER_NAME_BYTES]; /* a template; its form is cluster/name's to check */
		char signer[CONFIG_SIGNER_BYTES];       /* "": files are mounted */
	} identity;
	struct {
		char file[CONFIG_PATH_BYTES]; /* "": is_kubernetes */
		bool is_kubernetes;
		struct {
			char kubeconfig[CONFIG_PATH_BYTES]; /* "": the pod's own account */
			char name_space[CONFIG_NAME_BYTES]; /* of Culvert itself; "": that of the account */
			char records_namespace[CONFIG_NAME_BYTES];
			char daemonset[CONFIG_NAME_BYTES];
			enum config_pod_ranges pod_ranges;
			enum config_flag allow_pod_opt_out;
			struct config_prefixes service_ranges;
		} kubernetes;
	} nodes;
	struct {
		uint32_t port;
		uint32_t workers; /* 0: one per core that the process may use, at most 8 */
		uint32_t tunnels_per_peer;
		uint64_t peer_timeout_ms, drain_timeout_ms, idle_timeout_ms;
		uint64_t memory_bytes; /* the budget of granted credit */
	} tunnel;
	struct {
		struct config_devices devices;
		enum config_mode mode;
		enum config_connect connect;
		enum config_older_flows older_flows;
		struct config_prefixes cluster_pods;
		struct config_excludes exclude;
	} capture;
	struct {
		struct config_listen listen;
	} metrics;
	struct {
		enum log_level level;
	} log;
	unsigned lines[CONFIG_KEYS_MAX]; /* config_line */
};

/* Reads, checks and fills in defaults. node takes the place of the key of that name, which need not be there then; NULL: the key holds. 0; or -EINVAL, -ENOMEM or the errno of reading, with file, line, key, value and what would be right
 * in error, and *ret untouched. */
int config_load(const char *path, const char *node, struct config *ret, char error[CONFIG_ERROR_BYTES]);
/* The same from memory; path only names the source in messages. */
int config_parse(const char *path, const char *text, size_t len_bytes, const char *node, struct config *ret,
                 char error[CONFIG_ERROR_BYTES]);
void config_done(struct config *c); /* of a config that was filled, or zeroed */

/* The line in which key ("tunnel.port") was set; 0: it has its default. */
unsigned config_line(const struct config *c, const char *key);
/* All settings in force, as a file that config_load reads back to the same. */
void config_print(const struct config *c, FILE *out);
/* A table of all keys in Markdown: form, default, what it does. */
void config_describe(FILE *out);

#endif
