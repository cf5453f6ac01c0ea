/* SPDX-License-Identifier: GPL-3.0-or-later */
/* drive.h - libcurl's multi handle run by our loop: its sockets are sources, its timer is a timer, and nothing waits. Knows nothing of what
 * is asked. Thread: the loop's. */
#ifndef CULVERT_KUBE_DRIVE_H
#define CULVERT_KUBE_DRIVE_H

#include "base/list.h"
#include "net/loop.h"

#include <curl/curl.h>
#include <stdbool.h>
#include <stdint.h>

struct drive {
	struct loop *loop;
	CURLM *multi;
	struct loop_timer timer;
	struct list sockets; /* all that libcurl has open */
	/* libcurl is being run, and with it callbacks of transfers: handles must not be added or removed until ran is called. */
	bool is_inside;
	void (*ran)(struct drive *d); /* libcurl has returned: ends may be read, and what waited may be done */
};

/* 0 or -ENOMEM. loop is borrowed. */
int drive_init(struct drive *d, struct loop *loop, void (*ran)(struct drive *d));
void drive_done(struct drive *d); /* all handles must have been removed; not while is_inside. One that is all zero is welcome */

/* The sockets of a transfer are made and closed by us: close-on-exec, and with limits after which a dead connection is found. */
void drive_own_sockets(struct drive *d, CURL *easy);

/* A call that heard nothing ends, but its HTTP/2 connection would stay, and new calls would join it. Where the connection of that call brought
 * nothing for as long it is shut, so that all its calls fail at once and begin anew. Others stay: over HTTP/1.1 each call has its own, and that
 * of a watch may well be quiet for longer than this call had time. */
void drive_shut_silent(struct drive *d, CURL *easy, uint32_t silence_ms);

#endif
