/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "settings.h"

#include "engine.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>

uint32_t settings_workers(const struct config *c)
{
	cpu_set_t cpus;
	uint32_t n = c->tunnel.workers;

	if (!n)
		n = sched_getaffinity(0, sizeof(cpus), &cpus) ? 1 : (uint32_t)CPU_COUNT(&cpus);
	return n > ENGINE_WORKERS_MAX ? ENGINE_WORKERS_MAX : n;
}

uint64_t settings_hash(const struct config *c)
{
	return 1 + (uint64_t)c->capture.mode;
}

/* Folder names under the bpffs take no dot. */
void settings_pin_directory(const struct config *c, char ret[CONFIG_PATH_BYTES])
{
	const char *base = strrchr(c->runtime_directory, '/');
	int prefix;

	prefix = snprintf(ret, CONFIG_PATH_BYTES, "%s/", c->kernel.bpffs);
	snprintf(ret + prefix, CONFIG_PATH_BYTES - (size_t)prefix, "%s", base ? base + 1 : c->runtime_directory);
	for (char *p = ret + prefix; *p; p++) {
		if (*p == '.')
			*p = '_';
	}
}

void settings_capture(const struct config *c, const char *pin_directory, struct capture_exclude *items, struct capture_settings *ret)
{
	for (size_t i = 0; i < c->capture.exclude.count; i++) {
		const struct config_exclude *e = &c->capture.exclude.items[i];

		items[i] = (struct capture_exclude){ .is_port = e->is_port, .prefix = e->prefix, .port = e->port };
	}
	*ret = (struct capture_settings){
		.mode = c->capture.mode == CONFIG_PERMISSIVE ? CAPTURE_PERMISSIVE
		        : c->capture.mode == CONFIG_STRICT   ? CAPTURE_STRICT
		                                             : CAPTURE_LOCKDOWN,
		.has_records = c->nodes.is_kubernetes,
		.is_faithful = c->capture.connect == CONFIG_FAITHFUL,
		.is_older_reset = c->capture.older_flows == CONFIG_OLDER_RESET,
		.devices = (const char *const *)c->capture.devices.names,
		.devices_count = c->capture.devices.count,
		.exclude = items,
		.exclude_count = c->capture.exclude.count,
		.tunnel_port = (uint16_t)c->tunnel.port,
		.workers = settings_workers(c),
		.pin_directory = pin_directory,
	};
}
