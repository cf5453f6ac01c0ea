/* SPDX-License-Identifier: GPL-3.0-or-later */
/* api_servers.h - where the cluster's API server listens, in the kernel's map. Thread: main. */
#ifndef CULVERT_EDGE_API_SERVERS_H
#define CULVERT_EDGE_API_SERVERS_H

#include "base/addr.h"

#include <stddef.h>

/* Brings the map to what is wanted: that goes in first, what is not wanted any more out afterwards. 0 or -errno. */
int api_servers_write(int fd, const struct endpoint *wanted, size_t count);

#endif
