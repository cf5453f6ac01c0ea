/* SPDX-License-Identifier: GPL-3.0-or-later */
/* accept.h - the listeners: for other nodes' tunnels main's own, for the pods' diverted connections the workers', which the kernel is given.
 * Thread: main. */
#ifndef CULVERT_ACCEPT_H
#define CULVERT_ACCEPT_H

#include "daemon.h"

/* Opens the tunnel port and gives the workers' listeners to the kernel. 0 or -errno, logged; accept_stop undoes it, also half of it. */
int accept_start(struct daemon *d);
/* No more tunnels from others. Again is harmless. */
void accept_stop(struct daemon *d);

#endif
