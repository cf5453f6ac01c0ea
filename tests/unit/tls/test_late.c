/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Handshake messages after the handshake: whole, cut, several in a record, and those that have no place there. */
#include "tls/late.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* NewSessionTicket: lifetime, age, nonce, ticket, no extensions */
static const uint8_t ticket[] = { 4, 0, 0, 17, 0, 0, 1, 0, 1, 2, 3, 4, 2, 0, 1, 0, 2, 9, 9, 0, 0 };
static const uint8_t update[] = { 24, 0, 0, 1, 0 }, request[] = { 24, 0, 0, 1, 1 };

static enum late_result take(const void *bytes, size_t len)
{
	struct late l = { 0 };

	return late_take(&l, bytes, len, true);
}

static void test_key_updates(void **state)
{
	struct late l = { 0 };

	(void)state;
	assert_int_equal(late_take(&l, update, sizeof(update), true), LATE_KEY_UPDATE);
	assert_false(late_is_cut(&l));
	assert_int_equal(late_take(&l, request, sizeof(request), false), LATE_KEY_UPDATE_REQUESTED);
	assert_false(late_is_cut(&l));
}

static void test_messages_cut_at_every_place(void **state)
{
	uint8_t both[sizeof(ticket) + sizeof(request)];

	(void)state;
	memcpy(both, ticket, sizeof(ticket));
	memcpy(both + sizeof(ticket), request, sizeof(request));
	assert_int_equal(take(both, sizeof(both)), LATE_KEY_UPDATE_REQUESTED);
	for (size_t cut = 1; cut < sizeof(both); cut++) {
		struct late l = { 0 };

		assert_int_equal(late_take(&l, both, cut, true), LATE_NOTHING);
		assert_int_equal(late_is_cut(&l), cut != sizeof(ticket));
		assert_int_equal(late_take(&l, both + cut, sizeof(both) - cut, true), LATE_KEY_UPDATE_REQUESTED);
		assert_false(late_is_cut(&l));
	}
}

static void test_nothing_follows_a_key_update_in_its_record(void **state)
{
	uint8_t both[sizeof(update) + sizeof(ticket)];

	(void)state;
	memcpy(both, update, sizeof(update));
	memcpy(both + sizeof(update), ticket, sizeof(ticket));
	for (size_t n = sizeof(update) + 1; n <= sizeof(both); n++)
		assert_int_equal(take(both, n), LATE_UNEXPECTED);
}

static void test_tickets_come_from_servers_alone(void **state)
{
	struct late l = { 0 };

	(void)state;
	assert_int_equal(late_take(&l, ticket, sizeof(ticket), false), LATE_UNEXPECTED);
}

static void test_long_ticket(void **state)
{
	const uint8_t head[] = { 4, LATE_TICKET_MAX >> 16, (uint8_t)(LATE_TICKET_MAX >> 8), (uint8_t)LATE_TICKET_MAX };
	uint8_t *body = calloc(1, LATE_TICKET_MAX);
	struct late l = { 0 };

	(void)state;
	assert_int_equal(late_take(&l, head, sizeof(head), true), LATE_NOTHING);
	assert_int_equal(late_take(&l, body, LATE_TICKET_MAX - 1, true), LATE_NOTHING);
	assert_true(late_is_cut(&l));
	assert_int_equal(late_take(&l, body, 1, true), LATE_NOTHING);
	assert_false(late_is_cut(&l));
	free(body);
}

static void test_refused(void **state)
{
	static const struct {
		const char *what;
		uint8_t bytes[8];
		size_t len;
		enum late_result result;
	} cases[] = {
		{ "a hello request", { 0, 0, 0, 0 }, 4, LATE_UNEXPECTED },
		{ "a client hello", { 1, 0, 0, 2, 3, 3 }, 6, LATE_UNEXPECTED },
		{ "a certificate request", { 13, 0, 0, 3, 0, 0, 0 }, 7, LATE_UNEXPECTED },
		{ "a finished", { 20, 0, 0, 32 }, 4, LATE_UNEXPECTED },
		{ "a key update of no bytes", { 24, 0, 0, 0 }, 4, LATE_UNDECODABLE },
		{ "a key update of two bytes", { 24, 0, 0, 2, 0, 0 }, 6, LATE_UNDECODABLE },
		{ "a key update of 2^16 + 1 bytes", { 24, 1, 0, 1, 0 }, 5, LATE_UNDECODABLE },
		{ "a key update that says neither", { 24, 0, 0, 1, 2 }, 5, LATE_ILLEGAL },
		{ "an empty ticket", { 4, 0, 0, 0 }, 4, LATE_UNDECODABLE },
		{ "a ticket longer than one can be", { 4, 2, 1, 0xa }, 4, LATE_UNDECODABLE },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (take(cases[i].bytes, cases[i].len) != cases[i].result)
			fail_msg("%s", cases[i].what);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_key_updates),
		cmocka_unit_test(test_messages_cut_at_every_place),
		cmocka_unit_test(test_nothing_follows_a_key_update_in_its_record),
		cmocka_unit_test(test_tickets_come_from_servers_alone),
		cmocka_unit_test(test_long_ticket),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
