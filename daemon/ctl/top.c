/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ctl/top.h"

#include "ctl/client.h"
#include "ctl/exit.h"
#include "ctl/table.h"
#include "ctl/text.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum {
	ROUND_MS = 1000,
	STREAMS_ASKED = 10000,
	ROWS_NO_TERMINAL = 20, /* streams of a round that is not shown on a screen */
	ROWS_BESIDES = 6,      /* heading lines and blank ones of a screen */
};

/* What moved since the round before. */
struct moved {
	uint64_t sent, received; /* bytes a second */
};

struct row {
	const Culvert__Status__Stream *stream;
	struct moved moved;
};

struct top {
	const char *socket_path;
	bool is_screen;
	struct termios before;
	Culvert__Status__Response *peers, *streams, *old_peers, *old_streams;
	struct timespec taken, old_taken;
};

static uint64_t elapsed_ms(const struct timespec *since, const struct timespec *now)
{
	return (uint64_t)(now->tv_sec - since->tv_sec) * 1000 + (uint64_t)(now->tv_nsec / 1000000) - (uint64_t)(since->tv_nsec / 1000000);
}

/* A counter that fell belongs to something new under an old name. */
static uint64_t per_second(uint64_t before, uint64_t now, uint64_t ms)
{
	return now < before || !ms ? 0 : (now - before) * 1000 / ms;
}

/* A stream is the same in two rounds by its addresses and by the side that is here: ids begin anew with a tunnel. */
static int compare_streams(const void *a, const void *b)
{
	const Culvert__Status__Stream *x = *(Culvert__Status__Stream *const *)a, *y = *(Culvert__Status__Stream *const *)b;
	int r = strcmp(x->client, y->client);

	if (!r)
		r = strcmp(x->server, y->server);
	return r ? r : strcmp(x->role, y->role);
}

static int compare_rows(const void *a, const void *b)
{
	const struct row *x = a, *y = b;
	uint64_t moved_x = x->moved.sent + x->moved.received, moved_y = y->moved.sent + y->moved.received;

	if (moved_x != moved_y)
		return moved_x < moved_y ? 1 : -1;
	return x->stream->age_ms < y->stream->age_ms ? -1 : x->stream->age_ms > y->stream->age_ms;
}

static struct moved moved_of_peer(const struct top *t, const Culvert__Status__Peer *p)
{
	uint64_t ms = elapsed_ms(&t->old_taken, &t->taken);

	for (size_t i = 0; t->old_peers && i < t->old_peers->peers->n_peers; i++) {
		const Culvert__Status__Peer *old = t->old_peers->peers->peers[i];

		if (strcmp(old->name, p->name) == 0)
			return (struct moved){ per_second(old->sent_bytes, p->sent_bytes, ms),
				               per_second(old->received_bytes, p->received_bytes, ms) };
	}
	return (struct moved){ 0 };
}

/* One that was not there in the round before has moved all that it has since it began. */
static struct moved moved_of_stream(const struct top *t, Culvert__Status__Stream *s)
{
	uint64_t ms = elapsed_ms(&t->old_taken, &t->taken);
	Culvert__Status__Stream **old;

	if (!t->old_streams)
		return (struct moved){ 0 };
	old = bsearch(&s, t->old_streams->streams->streams, t->old_streams->streams->n_streams, sizeof(*old), compare_streams);
	if (!old)
		return (struct moved){ per_second(0, s->sent_bytes, ms), per_second(0, s->received_bytes, ms) };
	return (struct moved){ per_second((*old)->sent_bytes, s->sent_bytes, ms),
		               per_second((*old)->received_bytes, s->received_bytes, ms) };
}

static void add_rate(struct table *table, uint64_t bytes_per_s)
{
	char text[FIGURE_BYTES], with_unit[FIGURE_BYTES + 2];

	snprintf(with_unit, sizeof(with_unit), "%s/s", figure_bytes(bytes_per_s, text));
	table_add(table, with_unit);
}

static void print_peers(const struct top *t)
{
	struct table *table = table_create("PEER STATE RTT> STREAMS> SENT> RECEIVED>");

	for (size_t i = 0; table && i < t->peers->peers->n_peers; i++) {
		const Culvert__Status__Peer *p = t->peers->peers->peers[i];
		struct moved m = moved_of_peer(t, p);
		char text[FIGURE_BYTES];

		table_add(table, p->name);
		table_add(table, p->state);
		table_add(table, p->rtt_us ? figure_micros(p->rtt_us, text) : "");
		table_add(table, figure_count(p->streams_open, text));
		add_rate(table, m.sent);
		add_rate(table, m.received);
	}
	if (table)
		table_print(table, stdout);
	table_destroy(table);
}

static void print_streams(const struct top *t, size_t rows_max)
{
	const Culvert__Status__Streams *s = t->streams->streams;
	struct table *table = table_create("CLIENT SERVER PEER HERE STATE AGE> SENT> RECEIVED> BUFFERED>");
	struct row *rows = calloc(s->n_streams + 1, sizeof(*rows));

	for (size_t i = 0; rows && i < s->n_streams; i++)
		rows[i] = (struct row){ s->streams[i], moved_of_stream(t, s->streams[i]) };
	if (rows)
		qsort(rows, s->n_streams, sizeof(*rows), compare_rows);
	for (size_t i = 0; rows && table && i < s->n_streams && i < rows_max; i++) {
		const Culvert__Status__Stream *x = rows[i].stream;
		char text[FIGURE_BYTES];

		table_add(table, x->client);
		table_add(table, x->server);
		table_add(table, x->peer);
		table_add(table, x->role);
		table_add(table, x->state);
		table_add(table, figure_span(x->age_ms, text));
		add_rate(table, rows[i].moved.sent);
		add_rate(table, rows[i].moved.received);
		table_add(table, figure_bytes(x->buffered_bytes, text));
	}
	if (table)
		table_print(table, stdout);
	free(rows);
	table_destroy(table);
}

static size_t rows_for_streams(const struct top *t)
{
	size_t besides = t->peers->peers->n_peers + ROWS_BESIDES;
	struct winsize size;

	if (!t->is_screen || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || !size.ws_row)
		return ROWS_NO_TERMINAL;
	return size.ws_row > besides ? size.ws_row - besides : 1;
}

static void print_round(const struct top *t)
{
	char text[FIGURE_BYTES];

	if (t->is_screen)
		fputs("\033[H\033[2J", stdout);
	print_peers(t);
	printf("\n%s streams%s\n", figure_count(t->streams->streams->total, text), t->is_screen ? "; q ends" : "");
	print_streams(t, rows_for_streams(t));
	if (!t->is_screen)
		putchar('\n');
	fflush(stdout);
}

static int ask(const struct top *t, const Culvert__Status__Request *request, int wanted, Culvert__Status__Response **ret)
{
	char error[CLIENT_ERROR_BYTES];
	Culvert__Status__Response *response;

	if (client_ask(t->socket_path, request, &response, error)) {
		fprintf(stderr, "culvertctl: %s\n", error);
		return EXIT_UNREACHABLE;
	}
	if ((int)response->what_case != wanted) {
		fprintf(stderr, "culvertctl: %s\n",
		        response->what_case == CULVERT__STATUS__RESPONSE__WHAT_ERROR ? response->error->text
		                                                                     : "the daemon answers something else than was asked");
		culvert__status__response__free_unpacked(response, NULL);
		return EXIT_WRONG;
	}
	*ret = response;
	return EXIT_GOOD;
}

static void forget_round(Culvert__Status__Response **peers, Culvert__Status__Response **streams)
{
	if (*peers)
		culvert__status__response__free_unpacked(*peers, NULL);
	if (*streams)
		culvert__status__response__free_unpacked(*streams, NULL);
	*peers = *streams = NULL;
}

static int take_round(struct top *t)
{
	Culvert__Status__Request request = CULVERT__STATUS__REQUEST__INIT;
	Culvert__Status__PeersRequest peers = CULVERT__STATUS__PEERS_REQUEST__INIT;
	Culvert__Status__StreamsRequest streams = CULVERT__STATUS__STREAMS_REQUEST__INIT;
	int r;

	forget_round(&t->old_peers, &t->old_streams);
	t->old_peers = t->peers;
	t->old_streams = t->streams;
	t->old_taken = t->taken;
	t->peers = t->streams = NULL;
	if (t->old_streams)
		qsort(t->old_streams->streams->streams, t->old_streams->streams->n_streams, sizeof(void *), compare_streams);
	request.what_case = CULVERT__STATUS__REQUEST__WHAT_PEERS;
	request.peers = &peers;
	r = ask(t, &request, CULVERT__STATUS__RESPONSE__WHAT_PEERS, &t->peers);
	if (r)
		return r;
	streams.limit = STREAMS_ASKED;
	request.what_case = CULVERT__STATUS__REQUEST__WHAT_STREAMS;
	request.streams = &streams;
	r = ask(t, &request, CULVERT__STATUS__RESPONSE__WHAT_STREAMS, &t->streams);
	(void)clock_gettime(CLOCK_MONOTONIC, &t->taken);
	return r;
}

static void screen_enter(struct top *t)
{
	struct termios raw;

	if (!isatty(STDOUT_FILENO) || !isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &t->before) < 0)
		return;
	raw = t->before;
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO); /* ISIG stays: Ctrl-C is a signal, which we wait for */
	raw.c_cc[VMIN] = 0;
	raw.c_cc[VTIME] = 0;
	if (tcsetattr(STDIN_FILENO, TCSANOW, &raw) < 0)
		return;
	t->is_screen = true;
	fputs("\033[?1049h\033[?25l", stdout);
}

static void screen_leave(struct top *t)
{
	if (!t->is_screen)
		return;
	fputs("\033[?25h\033[?1049l", stdout);
	fflush(stdout);
	(void)tcsetattr(STDIN_FILENO, TCSANOW, &t->before);
}

/* Waits for the next round. true: the user wants an end. */
static bool wait_round(const struct top *t, int signal_fd)
{
	struct pollfd fds[2] = { { .fd = signal_fd, .events = POLLIN }, { .fd = t->is_screen ? STDIN_FILENO : -1, .events = POLLIN } };
	struct timespec now;
	uint64_t gone;

	for (;;) {
		char key;

		(void)clock_gettime(CLOCK_MONOTONIC, &now);
		gone = elapsed_ms(&t->taken, &now);
		if (gone >= ROUND_MS)
			return false;
		if (poll(fds, 2, (int)(ROUND_MS - gone)) < 0 && errno != EINTR)
			return true;
		if (fds[0].revents)
			return true;
		if (fds[1].revents && (read(STDIN_FILENO, &key, 1) != 1 || key == 'q' || key == 'Q'))
			return true;
	}
}

int top_run(const char *socket_path, uint64_t rounds)
{
	struct top t = { .socket_path = socket_path };
	sigset_t ends, before;
	int signal_fd, r;

	sigemptyset(&ends);
	sigaddset(&ends, SIGINT);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGHUP);
	(void)sigprocmask(SIG_BLOCK, &ends, &before);
	signal_fd = signalfd(-1, &ends, SFD_CLOEXEC);
	r = take_round(&t); /* before the screen is taken, so that an error stays readable */
	if (!r) {
		screen_enter(&t);
		for (uint64_t round = 1; !r; round++) {
			print_round(&t);
			if (round == rounds || wait_round(&t, signal_fd))
				break;
			r = take_round(&t);
			if (r)
				screen_leave(&t), t.is_screen = false;
		}
		screen_leave(&t);
	}
	forget_round(&t.peers, &t.streams);
	forget_round(&t.old_peers, &t.old_streams);
	if (signal_fd >= 0)
		close(signal_fd);
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
	return r;
}
