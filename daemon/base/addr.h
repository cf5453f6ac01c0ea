/* SPDX-License-Identifier: GPL-3.0-or-later */
/* addr.h - IP addresses, endpoints and prefixes: parse, print, compare.
 * An IPv4 address is held in its IPv4-mapped form (RFC 4291, 2.5.5.2), so that one table serves both families.
 * Plain data; any thread. */
#ifndef CULVERT_BASE_ADDR_H
#define CULVERT_BASE_ADDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct addr {
	uint8_t bytes[16]; /* network order; ::ffff:a.b.c.d for IPv4 */
};

struct endpoint {
	struct addr addr;
	uint16_t port; /* host order */
};

struct prefix {
	struct addr addr; /* bits behind len_bits are zero */
	uint8_t len_bits; /* 0..128, counted in the mapped form: an IPv4 /24 is 120 */
};

/* Enough for any text that the print functions make, with its NUL. */
enum { ADDR_TEXT_BYTES = 48, ENDPOINT_TEXT_BYTES = 56, PREFIX_TEXT_BYTES = 52 };

bool addr_is_v4(const struct addr *a);
bool addr_equal(const struct addr *a, const struct addr *b);
int addr_compare(const struct addr *a, const struct addr *b); /* as memcmp */
struct addr addr_from_v4_be(uint32_t v4_be);
uint32_t addr_to_v4_be(const struct addr *a); /* only where addr_is_v4 */

/* "10.0.0.1" or "fd00::1"; no zone, no brackets, no port. 0, or -EINVAL with *ret untouched. An IPv4-mapped text is refused:
 * it would name an IPv4 address by a second spelling. */
int addr_parse(const char *text, struct addr *ret);
/* Returns text. */
const char *addr_print(const struct addr *a, char text[ADDR_TEXT_BYTES]);

bool endpoint_equal(const struct endpoint *a, const struct endpoint *b);
/* "10.0.0.1:80" or "[fd00::1]:80", port 0..65535. 0 or -EINVAL. */
int endpoint_parse(const char *text, struct endpoint *ret);
const char *endpoint_print(const struct endpoint *e, char text[ENDPOINT_TEXT_BYTES]);
/* AF_INET, or AF_INET6 (a mapped address becomes IPv4). 0, or -EAFNOSUPPORT. */
int endpoint_from_sockaddr(const struct sockaddr *sa, socklen_t len_bytes, struct endpoint *ret);
/* Writes a sockaddr_in for IPv4, else a sockaddr_in6; returns its length. */
socklen_t endpoint_to_sockaddr(const struct endpoint *e, struct sockaddr_storage *ret);

/* "10.0.0.0/8", "fd00::/16", or one address. -EINVAL: not a prefix; -ERANGE: bits set behind the length: *ret has them, so that the caller
 * can say what would be right with prefix_clear_host; -EDOM: an IPv6 prefix that would hold all of IPv4 too in the mapped form, such as
 * ::/0 (write 2000::/3 or fc00::/7, and 0.0.0.0/0 for IPv4). */
int prefix_parse(const char *text, struct prefix *ret);
enum { PREFIX_FAULT_BYTES = 144 };
/* What is wrong where prefix_parse gave rc and *found, and what would be right, as the end of a sentence that begins with the text. Returns
 * fault. */
const char *prefix_fault(int rc, const struct prefix *found, char fault[PREFIX_FAULT_BYTES]);
const char *prefix_print(const struct prefix *p, char text[PREFIX_TEXT_BYTES]);
bool prefix_contains(const struct prefix *p, const struct addr *a);
bool prefix_overlaps(const struct prefix *a, const struct prefix *b);
void prefix_clear_host(struct prefix *p);

#endif
