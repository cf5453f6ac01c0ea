/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "edge/mode.h"

_Static_assert(EDGE_PERMISSIVE < EDGE_STRICT && EDGE_STRICT < EDGE_LOCKDOWN, "modes are in order of what they refuse");

enum edge_mode mode_egress(const struct edge_config *config)
{
	return (enum edge_mode)config->mode;
}

enum edge_mode mode_ingress(const struct edge_config *config)
{
	return (enum edge_mode)(config->ingress_mode ? config->ingress_mode - 1u : config->mode);
}

static void set(struct edge_config *config, enum edge_mode egress, enum edge_mode ingress)
{
	config->mode = egress;
	config->ingress_mode = egress == ingress ? 0 : (__u8)(ingress + 1);
}

bool mode_begin(struct edge_config *config, enum edge_mode wanted)
{
	enum edge_mode egress = mode_egress(config), ingress = mode_ingress(config);

	set(config, wanted > egress ? wanted : egress, wanted < ingress ? wanted : ingress);
	return config->mode != wanted || config->ingress_mode;
}

void mode_finish(struct edge_config *config, enum edge_mode wanted)
{
	set(config, wanted, wanted);
}
