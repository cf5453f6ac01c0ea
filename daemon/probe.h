/* SPDX-License-Identifier: GPL-3.0-or-later */
/* probe.h - what other programs ask over HTTP (the setting metrics.listen): /metrics, /livez and /readyz.
 * Thread: main. */
#ifndef CULVERT_PROBE_H
#define CULVERT_PROBE_H

#include "daemon.h"

/* Listens at metrics.listen, where that is on; answers when the loop runs. 0 or -errno, logged. */
int probe_start(struct daemon *d);
void probe_stop(struct daemon *d); /* not started too */

#endif
