/* SPDX-License-Identifier: GPL-3.0-or-later */
/* settings.h - the settings as the modules want them. Plain functions; thread: main. */
#ifndef CULVERT_SETTINGS_H
#define CULVERT_SETTINGS_H

#include "base/config.h"
#include "edge/capture.h"

/* How many worker threads there are to be: 1..ENGINE_WORKERS_MAX. */
uint32_t settings_workers(const struct config *c);

/* Of what both ends of a tunnel must agree on: nodes that differ are told apart by it. */
uint64_t settings_hash(const struct config *c);

/* The folder below the bpffs where everything is pinned: named after runtime_directory. */
void settings_pin_directory(const struct config *c, char ret[CONFIG_PATH_BYTES]);

/* What the capture gets. Of c, of pin_directory and of items is borrowed as long as *ret is used; items has room for
 * c->capture.exclude.count of them and is filled here. */
void settings_capture(const struct config *c, const char *pin_directory, struct capture_exclude *items, struct capture_settings *ret);

#endif
