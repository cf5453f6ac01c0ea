/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "issuer/inside.h"

#include <stdarg.h>
#include <stdio.h>

struct text_out {
	char *text;
	size_t at;
};

__attribute__((format(printf, 2, 3))) static void say(struct text_out *t, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(t->text + t->at, ISSUER_STATE_BYTES - t->at, format, args);
	va_end(args);
	if (n > 0)
		t->at += (size_t)n < ISSUER_STATE_BYTES - t->at ? (size_t)n : ISSUER_STATE_BYTES - t->at - 1;
}

static void say_authority(struct text_out *t, const char *what, const struct rotation_authority *a, const char *behind)
{
	char end[CERT_TIME_BYTES];

	if (a->cert)
		say(t, "%-10s%s, until %s%s\n", what, a->subject, cert_time_text(a->not_after_s, end), behind);
}

void issuer_state(const struct issuer *i, char text[ISSUER_STATE_BYTES])
{
	char time_text[CERT_TIME_BYTES], behind[128] = "";
	struct text_out t = { .text = text };
	struct reflector_state watch = { 0 };
	const struct rotation *r = &i->rotation;
	uint64_t denied = 0;
	bool is_well;

	if (i->reflector)
		reflector_state(i->reflector, &watch);
	is_well = i->has_rotation && i->has_bundle && !i->trouble[0] && watch.is_synced;
	say(&t, "%-10s%s\n", "well:", is_well ? "yes" : "no");
	say(&t, "%-10s%s\n", "running:", cert_time_text(i->started_s, time_text));
	if (i->has_rotation)
		say_authority(&t, "signs:", &r->current, "");
	if (r->next.cert && r->next_since_s)
		snprintf(behind, sizeof(behind), "; published, signs from %s",
		         cert_time_text(r->next_since_s + rotation_trust_delay(r, &i->s->rotation), time_text));
	say_authority(&t, "next:", &r->next, behind);
	if (r->old.cert)
		snprintf(behind, sizeof(behind), "; trusted until %s", cert_time_text(r->old_until_s, time_text));
	say_authority(&t, "old:", &r->old, behind);
	say(&t, "%-10s%llu\n", "signed:", (unsigned long long)i->signed_count);
	for (int k = 0; k < JUDGE_REASONS; k++)
		denied += i->denied[k];
	say(&t, "%-10s%llu\n", "denied:", (unsigned long long)denied);
	for (int k = 0; k < JUDGE_REASONS; k++) {
		if (i->denied[k])
			say(&t, "  %-20s%llu\n", judge_reason_word(k), (unsigned long long)i->denied[k]);
	}
	say(&t, "%-10s%zu\n", "waiting:", i->docket.count);
	if (watch.error[0])
		say(&t, "%-10s%s\n", "requests:", watch.error);
	if (i->trouble[0])
		say(&t, "%-10s%s\n", "trouble:", i->trouble);
}
