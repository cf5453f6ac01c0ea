/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "edge/counters.h"

#include "shared.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>

struct counters {
	int fd;
	int cpus;
	struct edge_count *per_cpu; /* one counter of each processor */
};

static const struct {
	const char *name;
	bool is_clear;
	bool on_pass[EDGE_DIRECTION_COUNT], on_drop[EDGE_DIRECTION_COUNT]; /* egress, ingress: what can occur */
} classes[CLASS_COUNT] = {
	[CLASS_TUNNEL] = { "tunnel", false, { true, false }, { false, false } },
	[CLASS_CARRIER] = { "carrier", false, { true, true }, { false, false } },
	[CLASS_REFUSED] = { "refused", false, { false, false }, { true, true } },
	[CLASS_HELD] = { "held", false, { false, false }, { true, false } },
	[CLASS_OLDER] = { "older", true, { true, true }, { false, false } },
	[CLASS_PERMISSIVE] = { "permissive", true, { true, true }, { false, false } },
	[CLASS_HOST] = { "host", true, { true, true }, { false, false } },
	[CLASS_TO_NODE] = { "to_node", true, { true, true }, { false, false } },
	[CLASS_OUTSIDE] = { "outside", true, { true, true }, { false, false } },
	[CLASS_UNKNOWN] = { "unknown", true, { true, true }, { true, true } },
	[CLASS_NOT_ENROLLED] = { "not_enrolled", true, { true, true }, { false, false } },
	[CLASS_EXCLUDED] = { "excluded", true, { true, true }, { false, false } },
	[CLASS_UDP] = { "udp", true, { true, true }, { false, false } },
	[CLASS_ICMP] = { "icmp", true, { true, true }, { false, false } },
	[CLASS_OTHER] = { "other", true, { true, true }, { false, false } },
	[CLASS_BYPASS] = { "bypass", true, { true, false }, { true, false } },
	[CLASS_LOOP] = { "loop", false, { false, false }, { true, false } },
	[CLASS_UNCLASSIFIABLE] = { "unclassifiable", true, { true, true }, { true, true } },
	[CLASS_JOINING] = { "joining", true, { true, true }, { false, false } },
	[CLASS_SILENT] = { "silent", false, { false, false }, { true, false } },
	[CLASS_UNHELD] = { "unheld", false, { true, false }, { false, false } },
};

int counters_create(int fd, struct counters **ret)
{
	struct counters *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->fd = fd;
	c->cpus = libbpf_num_possible_cpus();
	c->per_cpu = c->cpus > 0 ? calloc((size_t)c->cpus, sizeof(*c->per_cpu)) : NULL;
	if (!c->per_cpu) {
		free(c);
		return -ENOMEM;
	}
	*ret = c;
	return 0;
}

void counters_destroy(struct counters *c)
{
	if (!c)
		return;
	free(c->per_cpu);
	free(c);
}

size_t counters_read(const struct counters *c, struct capture_counter *ret, size_t max)
{
	size_t count = 0;

	for (int class = 0; class < CLASS_COUNT; class ++) {
		for (int direction = 0; direction < EDGE_DIRECTION_COUNT; direction++) {
			for (int verdict = 0; verdict < EDGE_VERDICT_COUNT; verdict++) {
				uint32_t index = (uint32_t)edge_counter_index(class, direction, verdict);
				struct capture_counter *x = &ret[count];

				if (verdict == EDGE_PASS ? !classes[class].on_pass[direction] : !classes[class].on_drop[direction])
					continue;
				if (count == max || bpf_map_lookup_elem(c->fd, &index, c->per_cpu))
					return count;
				*x = (struct capture_counter){
					.name = classes[class].name,
					.is_ingress = direction == EDGE_INGRESS,
					.is_clear = verdict == EDGE_PASS && classes[class].is_clear,
					.is_refused = verdict == EDGE_DROP,
				};
				for (int cpu = 0; cpu < c->cpus; cpu++) {
					x->packets += c->per_cpu[cpu].packets;
					x->bytes += c->per_cpu[cpu].bytes;
				}
				count++;
			}
		}
	}
	return count;
}
