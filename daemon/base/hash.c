/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/hash.h"

#include <string.h>

static uint64_t mix(uint64_t x)
{
	/* The finaliser of MurmurHash3: every bit of x changes every bit of the result with about even odds. */
	x ^= x >> 33;
	x *= UINT64_C(0xff51afd7ed558ccd);
	x ^= x >> 33;
	x *= UINT64_C(0xc4ceb9fe1a85ec53);
	return x ^ x >> 33;
}

uint64_t hash_bytes(const void *bytes, size_t len_bytes)
{
	const uint8_t *p = bytes;
	uint64_t hash = len_bytes, word;

	for (; len_bytes >= sizeof(word); p += sizeof(word), len_bytes -= sizeof(word)) {
		memcpy(&word, p, sizeof(word));
		hash = mix(hash ^ word) + UINT64_C(0x9e3779b97f4a7c15);
	}
	word = 0;
	memcpy(&word, p, len_bytes);
	return mix(hash ^ word);
}
