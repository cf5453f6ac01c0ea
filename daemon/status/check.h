/* SPDX-License-Identifier: GPL-3.0-or-later */
/* check.h - is everything as it should be? The findings of a snapshot, each one sentence.
 * Plain function; any thread. */
#ifndef CULVERT_STATUS_CHECK_H
#define CULVERT_STATUS_CHECK_H

#include "status/snapshot.h"

enum {
	CHECK_READY,
	CHECK_CERTIFICATE,
	CHECK_AUTHORITIES,
	CHECK_RELOAD,
	CHECK_DEVICES,
	CHECK_CLEAR,
	CHECK_CLUSTER,
	CHECK_COUNT,
	CHECK_TEXT_BYTES = 640,
	CHECK_CERTIFICATE_DAYS = 7, /* one that ends within it is a finding: time left for a person to act */
};

struct check_finding {
	const char *name; /* as in proto/status.proto */
	bool is_good;
	char text[CHECK_TEXT_BYTES];
};

void status_check(const struct snapshot *s, struct check_finding ret[CHECK_COUNT]);

#endif
