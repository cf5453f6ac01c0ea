/* SPDX-License-Identifier: GPL-3.0-or-later */
/* edges.h - the devices of the node that packets of the cluster leave and come by: found, given our programs, and watched.
 * Judges each device by its addresses and routes and by the view (edge/device.h), follows links, addresses and routes by netlink, and reads
 * back that our programs stay first. Knows nothing of what the maps hold but for `devices`. Thread: main, in the node's namespace. */
#ifndef CULVERT_EDGE_EDGES_H
#define CULVERT_EDGE_EDGES_H

#include "cluster/view.h"
#include "edge/capture.h"
#include "edge/device.h"
#include "edge/programs.h"
#include "net/loop.h"

struct edges;

struct edges_settings {
	struct loop *loop;
	struct edge_netns *netns;
	const struct programs *programs;
	const char *pin_directory;
	bool is_clsact_forced;
	/* Devices, addresses or routes are other than when edges_table read them. */
	void (*on_change)(void *ctx);
	void *ctx;
};

/* Nothing is attached yet; what an earlier daemon attached stays. The pointers are borrowed for its life. 0, or -errno with a sentence in
 * error. */
int edges_create(const struct edges_settings *s, struct edges **ret, char error[EDGE_ERROR_BYTES]);
void edges_destroy(struct edges *e); /* NULL is welcome; programs stay on their devices */

/* capture.devices, copied; NULL: auto. In force with the next edges_judge. 0 or -ENOMEM. */
int edges_set_names(struct edges *e, const char *const *names, size_t count);

/* What was read last, read now where nothing was yet or where is_anew says so. 0 or -errno. */
int edges_read(struct edges *e, bool is_anew);
const struct device_table *edges_table(const struct edges *e);
/* What has changed since, as far as it is known at this moment, is told by on_change before this returns. */
void edges_poll(struct edges *e);

/* Judges all devices by the view, and attaches or releases what changed. 0 or -ENOMEM. A device that can not be attached to is no error
 * here: edges_is_healthy says it. */
int edges_judge(struct edges *e, const struct view *v);
/* Can the step from before (NULL: none) to v change what becomes of any device? */
bool edges_are_touched(const struct edges *e, const struct view *before, const struct view *v);

/* As capture_devices and capture_is_healthy. */
size_t edges_list(const struct edges *e, struct capture_device *ret, size_t max);
bool edges_is_healthy(const struct edges *e, char error[EDGE_ERROR_BYTES]);

#endif
