/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tunnel/reason.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

static void every_reason_has_a_name_of_its_own(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < REASON_COUNT; i++) {
		const char *name = reason_text(i);

		assert_non_null(name);
		assert_true(name[0]);
		for (const char *p = name; *p; p++)
			assert_true(islower((unsigned char)*p) || *p == '_'); /* it is a metric's label too */
		for (uint32_t j = 0; j < i; j++)
			assert_string_not_equal(name, reason_text(j));
	}
}

/* They are on the wire between versions, and in docs/protocol.md. */
static void numbers_are_those_of_the_wire(void **state)
{
	static const char *const wire[] = {
		"finished",        "pod_reset",       "refused",     "host_unreachable", "net_unreachable", "prohibited",   "timed_out",
		"unknown_address", "foreign_address", "not_here",    "over_budget",      "peer_restarted",  "peer_timeout", "tunnel_lost",
		"peer_removed",    "draining",        "protocol",    "no_resources",     "no_tunnel",       "certificate",  "idle",
		"ids_used_up",     "moved",           "client_gone",
	};

	(void)state;
	assert_int_equal(sizeof(wire) / sizeof(wire[0]), REASON_COUNT);
	for (uint32_t i = 0; i < REASON_COUNT; i++)
		assert_string_equal(reason_text(i), wire[i]);
}

static void a_number_of_a_later_version_is_unknown(void **state)
{
	(void)state;
	assert_string_equal(reason_text(REASON_COUNT), "unknown");
	assert_string_equal(reason_text(0xffff), "unknown");
	assert_string_equal(reason_text(UINT32_MAX), "unknown");
}

static void errors_of_sockets(void **state)
{
	static const struct {
		int error;
		enum close_reason reason;
	} cases[] = {
		{ 0, REASON_FINISHED },
		{ ECONNREFUSED, REASON_REFUSED },
		{ EHOSTUNREACH, REASON_HOST_UNREACHABLE },
		{ ENETUNREACH, REASON_NET_UNREACHABLE },
		{ EACCES, REASON_PROHIBITED },
		{ EPERM, REASON_PROHIBITED },
		{ ETIMEDOUT, REASON_TIMED_OUT },
		{ ECONNRESET, REASON_POD_RESET },
		{ EPIPE, REASON_POD_RESET },
		{ EMFILE, REASON_NO_RESOURCES },
		{ EADDRNOTAVAIL, REASON_NO_RESOURCES },
		{ EADDRINUSE, REASON_NO_RESOURCES },
		{ ENOMEM, REASON_NO_RESOURCES },
		{ EPROTO, REASON_POD_RESET },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(reason_from_errno(cases[i].error), cases[i].reason);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_reason_has_a_name_of_its_own),
		cmocka_unit_test(numbers_are_those_of_the_wire),
		cmocka_unit_test(a_number_of_a_later_version_is_unknown),
		cmocka_unit_test(errors_of_sockets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
