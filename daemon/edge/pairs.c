/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "edge/pairs.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/hash.h"

#include "shared.h"

#include <assert.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
	BUCKETS = 4096, /* a power of two, about as many as there are nodes at most */
	ALWAYS_NS = 1,  /* a time that has always passed */
};

/* A bit for each worker: struct pair_reach. */
struct said {
	uint64_t up, answering, silent;
};
static_assert(EDGE_WORKERS_MAX <= 64, "a bit for each");

struct pair {
	char name[VIEW_NODE_NAME_BYTES]; /* "": the place is free */
	uint32_t node_id;                /* in the view in force; 0: in none yet */
	uint32_t next;                   /* in its bucket; 0: the last */
	bool is_gone;                    /* the view that was begun does not have it */
	uint32_t silent_flows;           /* how many of its pods' connections are silenced */
	struct said said;
	struct peer_value value; /* as it is in the map, but for wanted_ns and turn */
};

struct pairs {
	pthread_mutex_t lock; /* over all below */
	int peers_fd, names_fd;
	bool has_records;
	bool is_at_once;  /* what is enrolled now has joined */
	bool is_enrolled; /* this node, by the view that was begun last */
	bool is_settled;  /* that view was brought to its end */
	bool has_gone;    /* some place may have to be given up: one pod's change looks at none */
	uint32_t end;     /* no place from here on is taken */
	uint64_t full;    /* a bit for each worker */
	uint32_t buckets[BUCKETS];
	uint32_t place_of_id[EDGE_PEERS_MAX];
	struct pair at[EDGE_PEERS_MAX]; /* by place */
};

static uint32_t *bucket_of(struct pairs *p, const char *name)
{
	return &p->buckets[hash_bytes(name, strlen(name)) & (BUCKETS - 1)];
}

/* 0: it has no place. */
static uint32_t find(struct pairs *p, const char *name)
{
	uint32_t place = *bucket_of(p, name);

	while (place && strcmp(p->at[place].name, name))
		place = p->at[place].next;
	return place;
}

static void insert(struct pairs *p, uint32_t place, const char *name)
{
	uint32_t *bucket = bucket_of(p, name);

	memset(&p->at[place], 0, sizeof(p->at[place]));
	memcpy(p->at[place].name, name, strlen(name) + 1);
	p->at[place].next = *bucket;
	*bucket = place;
	if (place >= p->end)
		p->end = place + 1;
}

static int write_value(struct pairs *p, uint32_t place, const struct peer_value *value)
{
	if (bpf_map_update_elem(p->peers_fd, &place, value, BPF_ANY))
		return -errno;
	p->at[place].value = *value;
	return 0;
}

static int give_place(struct pairs *p, const char *name, uint32_t *ret)
{
	struct peer_name text = { 0 };
	uint32_t place = 1;

	while (place < p->end && p->at[place].name[0])
		place++;
	if (place == EDGE_PEERS_MAX)
		return -ENOSPC;
	memcpy(text.text, name, strlen(name) + 1);
	if (bpf_map_update_elem(p->names_fd, &place, &text, BPF_ANY))
		return -errno;
	insert(p, place, name);
	*ret = place;
	return 0;
}

static void give_up_place(struct pairs *p, uint32_t place)
{
	uint32_t *at = bucket_of(p, p->at[place].name);

	/* Its state first: a name without a state is taken over as one that is not enrolled. */
	(void)write_value(p, place, &(struct peer_value){ 0 });
	(void)bpf_map_delete_elem(p->names_fd, &place);
	while (*at != place)
		at = &p->at[*at].next;
	*at = p->at[place].next;
	if (p->place_of_id[p->at[place].node_id] == place)
		p->place_of_id[p->at[place].node_id] = 0;
	p->at[place].name[0] = '\0';
}

/* What an earlier daemon left. Its tunnels are gone. */
static int read_maps(struct pairs *p)
{
	struct peer_value value;
	struct peer_name text;
	uint32_t place, *last = NULL;

	while (!bpf_map_get_next_key(p->names_fd, last, &place)) {
		last = &place;
		if (!place || place >= EDGE_PEERS_MAX || bpf_map_lookup_elem(p->names_fd, &place, &text) ||
		    bpf_map_lookup_elem(p->peers_fd, &place, &value))
			continue;
		text.text[VIEW_NODE_NAME_BYTES - 1] = '\0';
		insert(p, place, text.text);
		value.takers_count = 0;
		value.is_silent = value.has_silent_flows = 0;
		if (write_value(p, place, &value))
			return -errno;
	}
	return 0;
}

int pairs_create(int peers_fd, int names_fd, bool is_fresh, bool has_records, struct pairs **ret)
{
	struct pairs *p = calloc(1, sizeof(*p));
	int code;

	if (!p)
		return -ENOMEM;
	(void)pthread_mutex_init(&p->lock, NULL);
	p->peers_fd = peers_fd;
	p->names_fd = names_fd;
	p->has_records = has_records;
	p->is_at_once = is_fresh || !has_records;
	p->end = 1;
	code = read_maps(p);
	if (code) {
		pairs_destroy(p);
		return code;
	}
	*ret = p;
	return 0;
}

void pairs_destroy(struct pairs *p)
{
	if (!p)
		return;
	(void)pthread_mutex_destroy(&p->lock);
	free(p);
}

/* What the view says of the pair, put beside what the map holds. */
static int set_enrolled(struct pairs *p, uint32_t place, bool is_enrolled)
{
	struct peer_value value = p->at[place].value;
	uint64_t now_ns = clock_monotonic_ns();

	if (is_enrolled == (value.egress_strict_ns != 0))
		return 0;
	if (!is_enrolled) {
		value.egress_strict_ns = value.ingress_strict_ns = 0;
	} else if (p->is_at_once) {
		value.egress_strict_ns = value.ingress_strict_ns = ALWAYS_NS;
	} else {
		value.egress_strict_ns = now_ns + EDGE_JOIN_EGRESS_NS;
		value.ingress_strict_ns = now_ns + EDGE_JOIN_INGRESS_NS;
	}
	if (p->has_records)
		log_info("pair", L_TEXT("node", p->at[place].name),
		         L_TEXT("state", pair_state_text(!is_enrolled    ? PAIR_NOT_ENROLLED
		                                         : p->is_at_once ? PAIR_JOINED
		                                                         : PAIR_JOINING)));
	return write_value(p, place, &value);
}

/* A node of the view is there, or is another than before. */
static int take_node(struct pairs *p, const struct view_node *n)
{
	uint32_t place;
	int code;

	if (n->is_self)
		return 0;
	place = find(p, n->name);
	if (!place) {
		code = give_place(p, n->name, &place);
		if (code)
			return code;
	}
	p->at[place].is_gone = false;
	p->at[place].node_id = n->id;
	if (n->id < EDGE_PEERS_MAX)
		p->place_of_id[n->id] = place;
	return set_enrolled(p, place, p->is_enrolled && n->is_enrolled);
}

static int on_node_changed(void *ctx, const struct view_node *before, const struct view_node *after)
{
	struct pairs *p = ctx;

	if (after)
		return take_node(p, after);
	if (!before->is_self)
		p->at[find(p, before->name)].is_gone = p->has_gone = true;
	return 0;
}

static int take_all(struct pairs *p, const struct view *v)
{
	int code = 0;

	p->has_gone = true;
	for (uint32_t place = 1; place < p->end; place++)
		p->at[place].is_gone = true;
	for (size_t i = 0; i < view_nodes_count(v) && !code; i++)
		code = take_node(p, view_node_at(v, i));
	return code;
}

int pairs_begin_view(struct pairs *p, const struct view *before, const struct view *v)
{
	const struct view_node *self = view_self(v);
	bool is_enrolled = self && self->is_enrolled, is_whole = !p->is_settled || p->is_enrolled != is_enrolled || !before;
	int code;

	(void)pthread_mutex_lock(&p->lock);
	p->is_enrolled = is_enrolled;
	p->is_settled = false;
	code = is_whole ? take_all(p, v) : view_diff_nodes(before, v, on_node_changed, p);
	(void)pthread_mutex_unlock(&p->lock);
	return code;
}

void pairs_end_view(struct pairs *p)
{
	(void)pthread_mutex_lock(&p->lock);
	for (uint32_t place = 1; p->has_gone && place < p->end; place++)
		if (p->at[place].name[0] && p->at[place].is_gone)
			give_up_place(p, place);
	p->has_gone = false;
	/* Where this node was enrolled before it had these maps, it has been rebooted, or they are of another layout: its pairs joined long ago.
	 * What is enrolled later joins. */
	p->is_at_once = !p->has_records;
	p->is_settled = true;
	(void)pthread_mutex_unlock(&p->lock);
}

uint32_t pairs_place(const struct pairs *p, const struct view_node *n)
{
	return n->id < EDGE_PEERS_MAX ? p->place_of_id[n->id] : 0;
}

uint32_t pairs_node_id(const struct pairs *p, uint32_t place)
{
	return place < EDGE_PEERS_MAX && p->at[place].name[0] ? p->at[place].node_id : 0;
}

static void set_bit(uint64_t *bits, uint32_t bit, bool is_set)
{
	*bits = (*bits & ~(UINT64_C(1) << bit)) | (uint64_t)is_set << bit;
}

/* Who is full takes new streams only where nobody else does. */
static void fill_takers(const struct pairs *p, const struct said *said, struct peer_value *value)
{
	uint64_t bits = said->up & ~p->full ? said->up & ~p->full : said->up;

	value->takers_count = 0;
	memset(value->takers, 0, sizeof(value->takers));
	for (uint32_t worker = 0; worker < EDGE_WORKERS_MAX && value->takers_count < EDGE_TAKERS_MAX; worker++) {
		if (bits >> worker & 1)
			value->takers[value->takers_count++] = (uint8_t)worker;
	}
}

int pairs_set_full(struct pairs *p, uint32_t worker, bool is_full)
{
	int code = 0, first = 0;

	(void)pthread_mutex_lock(&p->lock);
	set_bit(&p->full, worker, is_full);
	for (uint32_t place = 1; place < p->end; place++) {
		struct peer_value value = p->at[place].value;

		/* Of a node that has left its tunnels' end may not be told any more. */
		if (!p->at[place].name[0] || !(p->at[place].said.up >> worker & 1))
			continue;
		fill_takers(p, &p->at[place].said, &value);
		if (memcmp(&value, &p->at[place].value, sizeof(value)))
			code = write_value(p, place, &value);
		first = first ? first : code;
	}
	(void)pthread_mutex_unlock(&p->lock);
	return first;
}

bool pairs_next_lane(struct pairs *p, const char *node, const struct pairs_lanes *lanes, uint32_t *ret_worker)
{
	uint32_t place, count = lanes->lanes < lanes->workers ? lanes->lanes : lanes->workers;
	uint64_t taken;
	bool is_found = false;

	(void)pthread_mutex_lock(&p->lock);
	place = find(p, node);
	taken = p->full | p->at[place].said.up | p->at[place].said.answering | p->at[place].said.silent;
	for (uint32_t lane = 0; place && lane < count && !is_found; lane++) {
		uint32_t worker = (lanes->home + lane) % lanes->workers;

		is_found = !(taken >> worker & 1);
		if (is_found)
			*ret_worker = worker;
	}
	(void)pthread_mutex_unlock(&p->lock);
	return is_found;
}

int pairs_set_reach(struct pairs *p, const char *node, uint32_t worker, struct pair_reach reach)
{
	uint32_t place;
	int code = 0;

	(void)pthread_mutex_lock(&p->lock);
	place = find(p, node);
	if (place) {
		struct peer_value value = p->at[place].value;
		struct said *said = &p->at[place].said;

		set_bit(&said->up, worker, reach.is_up);
		set_bit(&said->answering, worker, reach.is_answering);
		set_bit(&said->silent, worker, reach.is_silent);
		fill_takers(p, said, &value);
		value.is_silent = said->silent && !said->answering;
		if (memcmp(&value, &p->at[place].value, sizeof(value)))
			code = write_value(p, place, &value);
	}
	(void)pthread_mutex_unlock(&p->lock);
	return code;
}

int pairs_count_silent_flow(struct pairs *p, const char *node, bool is_one_more)
{
	struct pair *pair;
	uint32_t place;
	int code = 0;

	(void)pthread_mutex_lock(&p->lock);
	place = find(p, node);
	pair = &p->at[place];
	/* Of a node that had left and is back more may end than were counted. */
	if (place && (is_one_more || pair->silent_flows)) {
		uint32_t count = is_one_more ? pair->silent_flows + 1 : pair->silent_flows - 1;
		struct peer_value value = pair->value;

		value.has_silent_flows = count > 0;
		if (value.has_silent_flows != pair->value.has_silent_flows)
			code = write_value(p, place, &value);
		if (!code)
			pair->silent_flows = count;
	}
	(void)pthread_mutex_unlock(&p->lock);
	return place ? code : -ENOENT;
}

bool pairs_is_up(struct pairs *p, const char *node)
{
	uint32_t place;
	bool is_up;

	(void)pthread_mutex_lock(&p->lock);
	place = find(p, node);
	is_up = place && p->at[place].value.takers_count;
	(void)pthread_mutex_unlock(&p->lock);
	return is_up;
}

enum pair_state pairs_hear(struct pairs *p, const char *node, enum pair_state said)
{
	enum pair_state state = PAIR_NOT_ENROLLED;
	uint64_t now_ns = clock_monotonic_ns();
	struct peer_value value;
	uint32_t place;

	(void)pthread_mutex_lock(&p->lock);
	place = find(p, node);
	if (place && p->at[place].value.egress_strict_ns) {
		value = p->at[place].value;
		if (said >= PAIR_JOINING && value.egress_strict_ns > now_ns)
			value.egress_strict_ns = now_ns;
		if (said == PAIR_JOINED && value.ingress_strict_ns > now_ns + EDGE_JOIN_GRACE_NS)
			value.ingress_strict_ns = now_ns + EDGE_JOIN_GRACE_NS;
		if (memcmp(&value, &p->at[place].value, sizeof(value)))
			(void)write_value(p, place, &value); /* where it can not be written the state is as it was */
		state = p->at[place].value.egress_strict_ns <= now_ns ? PAIR_JOINED : PAIR_JOINING;
	}
	(void)pthread_mutex_unlock(&p->lock);
	return state;
}
