/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

enum { V4_OFFSET_BYTES = 12, V4_OFFSET_BITS = 96, ADDR_BITS = 128 };

static const uint8_t v4_head[V4_OFFSET_BYTES] = { [10] = 0xff, [11] = 0xff };

bool addr_is_v4(const struct addr *a)
{
	return memcmp(a->bytes, v4_head, sizeof(v4_head)) == 0;
}

bool addr_equal(const struct addr *a, const struct addr *b)
{
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

int addr_compare(const struct addr *a, const struct addr *b)
{
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

struct addr addr_from_v4_be(uint32_t v4_be)
{
	struct addr a;

	memcpy(a.bytes, v4_head, sizeof(v4_head));
	memcpy(a.bytes + V4_OFFSET_BYTES, &v4_be, sizeof(v4_be));
	return a;
}

uint32_t addr_to_v4_be(const struct addr *a)
{
	uint32_t v4_be;

	memcpy(&v4_be, a->bytes + V4_OFFSET_BYTES, sizeof(v4_be));
	return v4_be;
}

int addr_parse(const char *text, struct addr *ret)
{
	struct addr a;
	uint32_t v4_be;

	if (inet_pton(AF_INET, text, &v4_be) == 1) {
		*ret = addr_from_v4_be(v4_be);
		return 0;
	}
	if (inet_pton(AF_INET6, text, a.bytes) != 1 || addr_is_v4(&a))
		return -EINVAL;
	*ret = a;
	return 0;
}

const char *addr_print(const struct addr *a, char text[ADDR_TEXT_BYTES])
{
	bool is_v4 = addr_is_v4(a);

	/* Can not fail: both families are known and the buffer is larger than INET6_ADDRSTRLEN. */
	(void)inet_ntop(is_v4 ? AF_INET : AF_INET6, a->bytes + (is_v4 ? V4_OFFSET_BYTES : 0), text, ADDR_TEXT_BYTES);
	return text;
}

bool endpoint_equal(const struct endpoint *a, const struct endpoint *b)
{
	return a->port == b->port && addr_equal(&a->addr, &b->addr);
}

/* Digits only, without needless zeros in front, at most max. */
static int number_parse(const char *text, unsigned max, unsigned *ret)
{
	unsigned value = 0;

	if (text[0] == '\0' || (text[0] == '0' && text[1] != '\0'))
		return -EINVAL;
	for (; *text != '\0'; text++) {
		if (*text < '0' || *text > '9')
			return -EINVAL;
		value = value * 10 + (unsigned)(*text - '0');
		if (value > max)
			return -EINVAL;
	}
	*ret = value;
	return 0;
}

/* Copies the part of a text that ends before end; -EINVAL where no address is so long. */
static int part_copy(const char *text, const char *end, char part[ADDR_TEXT_BYTES])
{
	size_t len = (size_t)(end - text);

	if (len >= ADDR_TEXT_BYTES)
		return -EINVAL;
	memcpy(part, text, len);
	part[len] = '\0';
	return 0;
}

int endpoint_parse(const char *text, struct endpoint *ret)
{
	bool is_bracketed = text[0] == '[';
	const char *end = strchr(text, is_bracketed ? ']' : ':');
	char part[ADDR_TEXT_BYTES];
	struct endpoint e;
	unsigned port;

	if (is_bracketed)
		text++;
	if (!end || part_copy(text, end, part) < 0 || addr_parse(part, &e.addr) < 0 || addr_is_v4(&e.addr) == is_bracketed)
		return -EINVAL;
	end += is_bracketed;
	if (*end != ':' || number_parse(end + 1, UINT16_MAX, &port) < 0)
		return -EINVAL;
	e.port = (uint16_t)port;
	*ret = e;
	return 0;
}

const char *endpoint_print(const struct endpoint *e, char text[ENDPOINT_TEXT_BYTES])
{
	char part[ADDR_TEXT_BYTES];

	addr_print(&e->addr, part);
	(void)snprintf(text, ENDPOINT_TEXT_BYTES, addr_is_v4(&e->addr) ? "%s:%u" : "[%s]:%u", part, (unsigned)e->port);
	return text;
}

int endpoint_from_sockaddr(const struct sockaddr *sa, socklen_t len_bytes, struct endpoint *ret)
{
	struct sockaddr_in in4;
	struct sockaddr_in6 in6;

	if (len_bytes >= sizeof(in4) && sa->sa_family == AF_INET) {
		memcpy(&in4, sa, sizeof(in4));
		ret->addr = addr_from_v4_be(in4.sin_addr.s_addr);
		ret->port = ntohs(in4.sin_port);
		return 0;
	}
	if (len_bytes >= sizeof(in6) && sa->sa_family == AF_INET6) {
		memcpy(&in6, sa, sizeof(in6));
		memcpy(ret->addr.bytes, &in6.sin6_addr, sizeof(ret->addr.bytes));
		ret->port = ntohs(in6.sin6_port);
		return 0;
	}
	return -EAFNOSUPPORT;
}

socklen_t endpoint_to_sockaddr(const struct endpoint *e, struct sockaddr_storage *ret)
{
	*ret = (struct sockaddr_storage){ 0 };
	if (addr_is_v4(&e->addr)) {
		struct sockaddr_in in4 = { .sin_family = AF_INET, .sin_port = htons(e->port), .sin_addr.s_addr = addr_to_v4_be(&e->addr) };

		memcpy(ret, &in4, sizeof(in4));
		return sizeof(in4);
	}

	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(e->port) };

	memcpy(&in6.sin6_addr, e->addr.bytes, sizeof(e->addr.bytes));
	memcpy(ret, &in6, sizeof(in6));
	return sizeof(in6);
}

/* The bits of byte index that belong to a prefix of len_bits. */
static uint8_t byte_mask(unsigned len_bits, unsigned index)
{
	if (len_bits >= 8 * (index + 1))
		return 0xff;
	if (len_bits <= 8 * index)
		return 0;
	return (uint8_t)(0xff << (8 * (index + 1) - len_bits));
}

void prefix_clear_host(struct prefix *p)
{
	for (unsigned i = 0; i < sizeof(p->addr.bytes); i++)
		p->addr.bytes[i] &= byte_mask(p->len_bits, i);
}

bool prefix_contains(const struct prefix *p, const struct addr *a)
{
	unsigned whole = p->len_bits / 8;

	if (memcmp(p->addr.bytes, a->bytes, whole) != 0)
		return false;
	return p->len_bits % 8 == 0 || ((p->addr.bytes[whole] ^ a->bytes[whole]) & byte_mask(p->len_bits, whole)) == 0;
}

bool prefix_overlaps(const struct prefix *a, const struct prefix *b)
{
	return a->len_bits <= b->len_bits ? prefix_contains(a, &b->addr) : prefix_contains(b, &a->addr);
}

int prefix_parse(const char *text, struct prefix *ret)
{
	static const struct prefix v4_all = { .addr.bytes = { [10] = 0xff, [11] = 0xff }, .len_bits = V4_OFFSET_BITS };
	const char *slash = strchr(text, '/');
	char part[ADDR_TEXT_BYTES];
	struct prefix p, cleared;
	unsigned len = 0;
	bool is_v4;

	if (part_copy(text, slash ? slash : text + strlen(text), part) < 0 || addr_parse(part, &p.addr) < 0)
		return -EINVAL;
	is_v4 = addr_is_v4(&p.addr);
	if (slash && number_parse(slash + 1, is_v4 ? ADDR_BITS - V4_OFFSET_BITS : ADDR_BITS, &len) < 0)
		return -EINVAL;
	p.len_bits = (uint8_t)(!slash ? ADDR_BITS : is_v4 ? len + V4_OFFSET_BITS : len);

	cleared = p;
	prefix_clear_host(&cleared);
	if (!addr_equal(&cleared.addr, &p.addr)) {
		*ret = p;
		return -ERANGE;
	}
	if (!is_v4 && prefix_overlaps(&p, &v4_all))
		return -EDOM;
	*ret = p;
	return 0;
}

const char *prefix_fault(int rc, const struct prefix *found, char fault[PREFIX_FAULT_BYTES])
{
	char text[PREFIX_TEXT_BYTES];
	struct prefix cleared;

	switch (rc) {
	case -ERANGE:
		cleared = *found;
		prefix_clear_host(&cleared);
		(void)snprintf(fault, PREFIX_FAULT_BYTES, "has bits set behind its length; %s would be right",
		               prefix_print(&cleared, text));
		break;
	case -EDOM:
		(void)snprintf(fault, PREFIX_FAULT_BYTES, "is too wide for an IPv6 prefix; 2000::/3 or fc00::/7 would be right");
		break;
	default:
		(void)snprintf(fault, PREFIX_FAULT_BYTES, "is no prefix; 10.245.1.0/24, fd45:1::/64 or one address would be right");
		break;
	}
	return fault;
}

const char *prefix_print(const struct prefix *p, char text[PREFIX_TEXT_BYTES])
{
	char part[ADDR_TEXT_BYTES];
	unsigned len = p->len_bits;

	if (addr_is_v4(&p->addr) && len >= V4_OFFSET_BITS)
		len -= V4_OFFSET_BITS;
	(void)snprintf(text, PREFIX_TEXT_BYTES, "%s/%u", addr_print(&p->addr, part), len);
	return text;
}
