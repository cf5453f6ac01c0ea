/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "status/check.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { HOUR_S = 60 * 60, DAY_S = 24 * HOUR_S };

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

/* Time left for a person to act; of one that lives for days only, so much that whoever renews it must have failed by then. */
static bool ends_soon(int64_t now_s, int64_t not_before_s, int64_t not_after_s)
{
	int64_t quarter_s = (not_after_s - not_before_s) / 4, left_s = CHECK_CERTIFICATE_DAYS * (int64_t)DAY_S;

	return not_after_s < now_s + (quarter_s < left_s ? quarter_s : left_s);
}

/* not_before_s 0: not known, it lives long. */
static void check_end(struct check_finding *f, const char *what, const char *name, int64_t now_s, int64_t not_before_s, int64_t not_after_s)
{
	int64_t left_s = not_after_s - now_s, days = left_s / DAY_S, hours = left_s / HOUR_S;
	int64_t left = days > 1 ? days : hours;
	const char *unit = days > 1 ? "days" : "hours";

	if (not_after_s <= now_s)
		say(f, false, "%s %s has ended: it must be replaced", what, name);
	else if (ends_soon(now_s, not_before_s, not_after_s))
		say(f, false, "%s %s ends in %" PRId64 " %s: it should have been replaced by now", what, name, left, unit);
	else
		say(f, true, "%s %s ends in %" PRId64 " %s", what, name, left, unit);
}

static void check_certificate(const struct snapshot *s, struct check_finding *f)
{
	const struct snapshot_certificates *c = &s->certificates;
	const struct snapshot_issuance *i = &c->issuance;

	if (i->is_there && i->error[0] && i->renewal_s <= s->now_s)
		say(f, false, "the certificate can not be had or renewed: %s", i->error);
	else if (!c->names_count)
		say(f, false, "there is no certificate yet: %s", text_of(c->reload.error));
	else
		check_end(f, "the certificate", c->names[0], s->now_s, c->not_before_s, c->not_after_s);
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
	check_end(f, "the authority", c->authorities[earliest].subject, s->now_s, 0, c->authorities[earliest].not_after_s);
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
	for (int i = 0; i < CHECK_COUNT; i++)
		ret[i].name = names[i];
	if (s->is_ready)
		say(&ret[CHECK_READY], true, "the daemon is ready, mode %s", text_of(s->mode));
	else
		say(&ret[CHECK_READY], false, "the daemon is not ready: %s", text_of(s->reason));
	check_certificate(s, &ret[CHECK_CERTIFICATE]);
	check_authorities(s, &ret[CHECK_AUTHORITIES]);
	check_reloads(s, &ret[CHECK_RELOAD]);
	check_devices(s, &ret[CHECK_DEVICES]);
	check_clear(s, &ret[CHECK_CLEAR]);
	check_cluster(s, &ret[CHECK_CLUSTER]);
}
