/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tunnel/silence.h"

#include "base/log.h"
#include "net/sock.h"
#include "tunnel/pool.h"
#include "tunnel/tx_half.h"

enum {
	LOOKS_MAX = 128,      /* at once: about 0.2 ms; 65,536 streams have their turns within 5 s */
	LOOKS_APART_MS = 200, /* a worker with few streams is not woken for each of them ... */
	LOOKS_MORE_MS = 10,   /* ... and one with many goes on soon */
};

static void silence_arm(struct pool *p, uint64_t earliest_ms)
{
	struct instant earliest = instant_add_ms(pool_now(p), earliest_ms), first = { UINT64_MAX };
	const struct list *lists[] = { &p->silence.seldom, &p->silence.often };

	for (size_t i = 0; i < 2; i++) {
		struct instant at;

		if (list_is_empty(lists[i]))
			continue;
		at = container_of(lists[i]->next, struct stream, look)->look_at;
		if (instant_before(at, first))
			first = at;
	}
	p->silence.is_armed = first.ns != UINT64_MAX;
	if (instant_before(first, earliest))
		first = earliest;
	if (p->silence.is_armed)
		(void)loop_timer_set(p->loop, &p->silence.timer, first);
	else
		loop_timer_clear(p->loop, &p->silence.timer);
}

static void silence_queue(struct stream *s)
{
	bool is_often = s->is_pod_silent || s->is_far_silent;

	list_remove(&s->look);
	s->look_at = instant_add_ms(pool_now(s->pool), is_often ? SILENCE_LOOK_AGAIN_MS : SILENCE_LOOK_MS);
	list_append(is_often ? &s->pool->silence.often : &s->pool->silence.seldom, &s->look);
}

/* --- our pod --- */

static void set_pod_silent(struct stream *s, bool is_silent)
{
	s->is_pod_silent = is_silent;
	s->silent_since = pool_now(s->pool);
	if (is_silent)
		s->pool->counters.pods_silent++;
	log_debug(is_silent ? "a pod does not answer" : "a pod answers again", L_U64("id", s->id), L_ENDPOINT("client", &s->client),
	          L_ENDPOINT("server", &s->server), L_TEXT("side", s->role == STREAM_CLIENT_SIDE ? "client" : "server"));
	stream_wants_frames(s, STREAM_SEND_SILENT);
}

/* Something came since it was silent, and what was sent is acknowledged: one without the other is a count of probes that has begun anew, in eight
 * bits, or a pod that speaks and does not hear. */
static bool has_answered(const struct stream *s, const struct sock_answers *a)
{
	return a->tries < SILENCE_TRIES && (uint64_t)a->quiet_ms * NS_PER_MS < instant_elapsed_ns(s->silent_since, pool_now(s->pool));
}

static void judge_pod(struct stream *s, const struct sock_answers *a)
{
	/* What it said was dropped: tries were in vain that say nothing of it. */
	if (s->is_silenced || s->peer->told_reach.is_silent) {
		s->tries_before = a->tries;
		return;
	}
	if (a->tries < s->tries_before)
		s->tries_before = 0;
	if (!s->is_pod_silent && a->tries >= s->tries_before + SILENCE_TRIES)
		set_pod_silent(s, true);
	else if (s->is_pod_silent && has_answered(s, a))
		set_pod_silent(s, false);
}

/* --- the other pod --- */

static int silence_flow(struct stream *s, bool is_silent)
{
	bool is_client = s->role == STREAM_CLIENT_SIDE;

	return s->pool->ops->silence_flow(s->pool->ctx, s->peer->name, is_client ? &s->client : &s->server,
	                                  is_client ? &s->server : &s->client, is_silent);
}

void silence_lift(struct stream *s)
{
	int r = silence_flow(s, false);

	if (r)
		log_warn("a connection stays silenced", L_U64("id", s->id), L_ENDPOINT("client", &s->client),
		         L_ENDPOINT("server", &s->server), L_ERRNO(r));
	s->is_silenced = false;
}

static void silence_own(struct stream *s)
{
	int r = silence_flow(s, true);

	if (!r) {
		s->is_silenced = true;
		return;
	}
	s->is_far_silent = false; /* until it is said again */
	s->pool->counters.flows_unsilenced++;
	log_debug("a pod can not find out that the other is silent", L_U64("id", s->id), L_ENDPOINT("client", &s->client),
	          L_ENDPOINT("server", &s->server), L_ERRNO(r));
}

/* --- both --- */

/* The stream may be closed when this returns. */
static void silence_look(struct stream *s)
{
	struct sock_answers a;
	bool is_patient;

	if (!s->is_probed) {
		sock_probe(s->source.fd);
		s->is_probed = true;
	}
	if (!s->pool->ops->ask_pod(s->pool->ctx, s->source.fd, &a)) {
		judge_pod(s, &a);
		if (s->is_far_silent && !s->is_pod_silent && !s->is_silenced && !sock_unacked_bytes(s->source.fd))
			silence_own(s);
		is_patient = a.tries >= SILENCE_TRIES && !sock_unacked_bytes(s->source.fd);
		if (is_patient != s->is_patient)
			sock_set_patient(s->source.fd, is_patient);
		s->is_patient = is_patient;
	}
	silence_queue(s);
	if (s->is_pod_silent && s->is_far_silent &&
	    instant_elapsed_ns(s->silent_since, pool_now(s->pool)) >= (uint64_t)SILENCE_BOTH_MS * NS_PER_MS)
		stream_fail(s, REASON_TIMED_OUT);
}

static void on_timer(struct loop_timer *t)
{
	struct pool *p = container_of(t, struct pool, silence.timer);
	struct list *lists[] = { &p->silence.often, &p->silence.seldom };
	bool has_more = false;

	for (size_t i = 0; i < 2; i++) {
		for (int looks = 0; !list_is_empty(lists[i]); looks++) {
			struct stream *s = container_of(lists[i]->next, struct stream, look);

			if (instant_before(pool_now(p), s->look_at))
				break;
			if (looks == LOOKS_MAX) {
				has_more = true;
				break;
			}
			silence_look(s);
		}
	}
	silence_arm(p, has_more ? LOOKS_MORE_MS : LOOKS_APART_MS);
}

void silence_hear(struct stream *s, bool is_silent)
{
	if (is_silent == s->is_far_silent)
		return;
	s->is_far_silent = is_silent;
	s->silent_since = pool_now(s->pool);
	if (!is_silent)
		silence_speak(s);
	if (!list_is_linked(&s->look))
		return;
	if (is_silent)
		silence_look(s);
	else
		silence_queue(s);
	silence_arm(s->pool, 0);
}

void silence_begin(struct stream *s)
{
	silence_queue(s);
	if (!s->pool->silence.is_armed)
		silence_arm(s->pool, 0);
}

void silence_end(struct stream *s)
{
	list_remove(&s->look);
	/* Nobody looks any more whether something is outstanding: from here on the kernel gives up as it does for everybody. */
	if (s->is_patient)
		sock_set_patient(s->source.fd, false);
	s->is_patient = false;
	silence_speak(s);
}

void silence_init(struct pool *p)
{
	list_init(&p->silence.seldom);
	list_init(&p->silence.often);
	p->silence.timer.on_expire = on_timer;
}

void silence_done(struct pool *p)
{
	loop_timer_clear(p->loop, &p->silence.timer);
}
