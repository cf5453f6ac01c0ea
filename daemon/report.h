/* SPDX-License-Identifier: GPL-3.0-or-later */
/* report.h - what the status socket shows of the running daemon: collected from the workers, the kernel and main. Thread: main. */
#ifndef CULVERT_REPORT_H
#define CULVERT_REPORT_H

#include "daemon.h"

/* Opens the status socket in the runtime directory. 0 or -errno, logged. */
int report_start(struct daemon *d);
void report_stop(struct daemon *d);

#endif
