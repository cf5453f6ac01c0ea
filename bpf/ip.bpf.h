/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* ip.bpf.h - numbers of the protocols, and the form in which addresses are compared. */
#ifndef CULVERT_IP_BPF_H
#define CULVERT_IP_BPF_H

#include "shared.h"

#define ETH_BYTES 14

#define ETH_TYPE_IPV4  0x0800
#define ETH_TYPE_IPV6  0x86dd
#define ETH_TYPE_VLAN  0x8100
#define ETH_TYPE_QINQ  0x88a8
#define ETH_TYPE_QINQ1 0x9100
#define ETH_TYPE_TEB   0x6558 /* Ethernet inside GRE or Geneve */

#define L4_HOP_OPTIONS  0
#define L4_ICMP         1
#define L4_IPIP         4
#define L4_TCP          6
#define L4_UDP          17
#define L4_IPV6         41
#define L4_ROUTING      43
#define L4_FRAGMENT     44
#define L4_GRE          47
#define L4_AUTH         51
#define L4_ICMPV6       58
#define L4_DEST_OPTIONS 60
#define L4_MOBILITY     135
#define L4_HIP          139
#define L4_SHIM6        140

static __always_inline void addr_map_v4(__u8 *mapped, const __u8 *v4)
{
	__builtin_memset(mapped, 0, 10);
	mapped[10] = 0xff;
	mapped[11] = 0xff;
	__builtin_memcpy(mapped + 12, v4, 4);
}

#endif
