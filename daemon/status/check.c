/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "status/check.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { DAY_S = 24 * 60 * 60 };

static void say(struct check_finding *f, bool is_good, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void say(struct check_finding *f, bool is_good, const char *format, ...)
{
	va_list args;

	f->is_good = is_good;
	va_start(args, format);
	(void)vsnprintf(f->text, sizeof(f->text), format, args);
	va_end(args);
}

static const char *text_of(const char *text)
{
	return text ? text : "";
}

static bool ends_soon(int64_t now_s, int64_t not_after_s)
{
	return not_after_s < now_s + CHECK_CERTIFICATE_DAYS * (int64_t)DAY_S;
}

static void check_end(struct check_finding *f, const char *what, const char *name, int64_t now_s, int64_t not_after_s)
{
	int64_t days = (not_after_s - now_s) / DAY_S;

	if (not_after_s <= now_s)
		say(f, false, "%s %s has ended: it must be replaced", what, name);
	else if (ends_soon(now_s, not_after_s))
		say(f, false, "%s %s ends in %" PRId64 " days: it should be replaced when %d are left", what, name, days,
		    CHECK_CERTIFICATE_DAYS);
	else
		say(f, true, "%s %s ends in %" PRId64 " days", what, name, days);
}

static void check_authorities(const struct snapshot *s, struct check_finding *f)
{
	const struct snapshot_certificates *c = &s->certificates;
	size_t earliest = 0;

	if (!c->authorities_count) {
		say(f, false, "no authority is loaded: no peer can be verified");
		return;
	}
	/* One that ends is harmless where another one has taken over, but nobody here knows which peers it still vouches for. */
	for (size_t i = 1; i < c->authorities_count; i++) {
		if (c->authorities[i].not_after_s < c->authorities[earliest].not_after_s)
			earliest = i;
	}
	check_end(f, "the authority", c->authorities[earliest].subject, s->now_s, c->authorities[earliest].not_after_s);
}

static void check_reloads(const struct snapshot *s, struct check_finding *f)
{
	for (size_t i = 0; i < s->reloads_count; i++) {
		if (text_of(s->reloads[i].error)[0]) {
			say(f, false, "the %s were not taken, the old ones stay: %s", s->reloads[i].what, s->reloads[i].error);
			return;
		}
	}
	say(f, true, "settings, nodes and certificates are those of the files");
}

static void check_devices(const struct snapshot *s, struct check_finding *f)
{
	size_t edges = 0;

	for (size_t i = 0; i < s->devices_count; i++) {
		const struct snapshot_device *d = &s->devices[i];

		if (!d->is_attached)
			continue;
		edges++;
		if (!d->is_first) {
			say(f, false, "on %s our programs are not first: %s", d->name,
			    d->detail[0] ? d->detail : "another one decides before them");
			return;
		}
	}
	if (edges)
		say(f, true, "our programs are first on every device at the node's edge (%zu)", edges);
	else
		say(f, false, "no device is captured: nothing is encrypted");
}

/* Classes that hold TCP between pods of two enrolled nodes, begun after both were enrolled. */
static bool is_between_enrolled(const char *counter)
{
	return strcmp(counter, "permissive") == 0 || strcmp(counter, "bypass") == 0 || strcmp(counter, "unclassifiable") == 0;
}

static void check_clear(const struct snapshot *s, struct check_finding *f)
{
	for (size_t i = 0; i < s->counters_count; i++) {
		const struct snapshot_counter *c = &s->counters[i];

		if (c->is_clear && c->packets && is_between_enrolled(c->name)) {
			say(f, false, "%" PRIu64 " packets between pods of enrolled nodes %s in the clear, class %s", c->packets,
			    c->is_ingress ? "arrived" : "left", c->name);
			return;
		}
	}
	if (s->counters_count)
		say(f, true, "the kernel counted no packet in the clear between pods of enrolled nodes");
	else
		say(f, false, "the kernel's counters can not be read");
}

static void check_cluster(const struct snapshot *s, struct check_finding *f)
{
	const struct snapshot_cluster *c = s->cluster;

	if (!c)
		say(f, true, "the nodes come from a file");
	else if (!c->is_current)
		say(f, false, "the API server is not followed: %s", text_of(c->missing));
	else if (strcmp(text_of(c->enrolment), "enrolled") != 0)
		say(f, false, "this node is not enrolled: %s", text_of(c->enrolment_detail));
	else if (c->other_port_count)
		say(f, false, "node %s was enrolled with another tunnel port: tunnel.port must be the same on every node",
		    c->other_port[0]);
	else if (c->is_too_large)
		say(f, false, "there are more than %" PRIu32 " nodes: what the API server sends to all of them grows with their square",
		    c->nodes_at_most);
	else
		say(f, true, "the API server is followed, and %" PRIu64 " of %" PRIu64 " nodes are enrolled", c->enrolled, c->nodes);
}

void status_check(const struct snapshot *s, struct check_finding ret[CHECK_COUNT])
{
	static const char *const names[CHECK_COUNT] = {
		[CHECK_READY] = "ready",     [CHECK_CERTIFICATE] = "certificate", [CHECK_AUTHORITIES] = "authorities",
		[CHECK_RELOAD] = "reload",   [CHECK_DEVICES] = "devices",         [CHECK_CLEAR] = "clear",
		[CHECK_CLUSTER] = "cluster",
	};
	const struct snapshot_certificates *c = &s->certificates;

	for (int i = 0; i < CHECK_COUNT; i++)
		ret[i].name = names[i];
	if (s->is_ready)
		say(&ret[CHECK_READY], true, "the daemon is ready, mode %s", text_of(s->mode));
	else
		say(&ret[CHECK_READY], false, "the daemon is not ready: %s", text_of(s->reason));
	check_end(&ret[CHECK_CERTIFICATE], "the certificate", c->names_count ? c->names[0] : "of this node", s->now_s, c->not_after_s);
	check_authorities(s, &ret[CHECK_AUTHORITIES]);
	check_reloads(s, &ret[CHECK_RELOAD]);
	check_devices(s, &ret[CHECK_DEVICES]);
	check_clear(s, &ret[CHECK_CLEAR]);
	check_cluster(s, &ret[CHECK_CLUSTER]);
}
