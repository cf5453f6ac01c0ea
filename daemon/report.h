/* SPDX-License-Identifier: GPL-3.0-or-later */
/* report.h - a snapshot of the running daemon: collected from the workers, the kernel and main; and the status socket, which shows it.
 * Thread: main. */
#ifndef CULVERT_REPORT_H
#define CULVERT_REPORT_H

#include "daemon.h"

/* s and all that it borrows live until it returns. NULL: there is none, and code and text are those of Error in proto/status.proto. */
typedef void (*report_fn)(void *ctx, const struct snapshot *s, const char *code, const char *text);

/* Asks every worker for what q wants, then calls deliver once; it may do so before it returns. q lives until then. */
void report_collect(struct daemon *d, const struct status_query *q, report_fn deliver, void *ctx);

/* Opens the status socket in the runtime directory. 0 or -errno, logged. */
int report_start(struct daemon *d);
void report_stop(struct daemon *d);

#endif
