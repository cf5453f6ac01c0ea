/* SPDX-License-Identifier: GPL-3.0-or-later */
/* sharing.c - which cache lines do threads share, and which locks do they take? A runtime for code that was built with -fsanitize=thread, instead of
 * ThreadSanitizer's: the compiler calls it at each access to memory, and it keeps for each thread which lines it read and wrote.
 *
 * The variable CULVERT_SHARING names a file of one byte, kept in memory: accesses are noted while it is '1'. When the process ends in order, FILE.report says
 * for each line that one thread wrote and another one touched: where it is, and for each thread how often and the first places in the code. Then for each
 * thread: lines, locks, blocks taken from the heap, and blocks given back that another thread had taken. All places are relative to the program's begin.
 *
 * Not seen: what libraries do that are not built so (libc, ipsec-mb, wolfSSL's assembly), and what the kernel does. What recv, readv and epoll_wait fill is. */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
	LINE_SHIFT = 6,
	LINES_MAX = 1 << 19, /* of a thread */
	BLOCKS_MAX = 1 << 20,
	THREADS_MAX = 32,
	NAME_BYTES = 16,
	PIECE_MAX = 128 * 1024, /* a larger block is mapped by itself, and its place is anybody's after it */
};

struct line {
	uintptr_t number;
	uint32_t reads, writes;
	uintptr_t read_at, written_at; /* the first time */
};

struct thread {
	char name[NAME_BYTES];
	size_t lines_count;
	uint64_t locks, taken, given, given_of_others;
	struct line lines[LINES_MAX];
};

/* Who has taken a block of the heap. */
struct block {
	_Atomic uintptr_t address;
	_Atomic int owner; /* 0: nobody */
};

extern const char __executable_start[];

static const volatile char *control; /* NULL: nothing is noted */
static struct thread *threads[THREADS_MAX];
static atomic_int threads_count;
static struct block *blocks;
static _Thread_local struct thread *mine;
static _Thread_local int own_number;

#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define HERE          ((uintptr_t)__builtin_return_address(0))

static void *zeroes(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		abort();
	return p;
}

static size_t spread(uintptr_t key, size_t slots)
{
	return (size_t)(key * UINT64_C(0x9e3779b97f4a7c15) >> 32) & (slots - 1);
}

static struct line *line_of(struct thread *t, uintptr_t number, bool is_wanted)
{
	size_t i = spread(number, LINES_MAX);

	while (t->lines[i].number && t->lines[i].number != number)
		i = (i + 1) & (LINES_MAX - 1);
	if (t->lines[i].number)
		return &t->lines[i];
	if (!is_wanted)
		return NULL;
	if (++t->lines_count == LINES_MAX)
		abort();
	t->lines[i].number = number;
	return &t->lines[i];
}

static int my_number(void)
{
	if (own_number == 0)
		own_number = atomic_fetch_add(&threads_count, 1) + 1;
	if (own_number > THREADS_MAX)
		abort();
	return own_number;
}

static struct thread *me(void)
{
	if (!mine) {
		mine = threads[my_number() - 1] = zeroes(sizeof(*mine));
		(void)pthread_getname_np(pthread_self(), mine->name, sizeof(mine->name)); /* it has its name before anything is noted */
	}
	return mine;
}

ALWAYS_INLINE bool is_on(void)
{
	return __builtin_expect(control != NULL, 0) && *control == '1';
}

static __attribute__((noinline)) void note_range(uintptr_t address, size_t bytes, bool is_write, uintptr_t place)
{
	struct thread *t = me();

	for (uintptr_t n = address >> LINE_SHIFT; bytes > 0 && n <= (address + bytes - 1) >> LINE_SHIFT; n++) {
		struct line *l = line_of(t, n, true);
		uint32_t *count = is_write ? &l->writes : &l->reads;

		if ((*count)++ == 0)
			*(is_write ? &l->written_at : &l->read_at) = place;
	}
}

ALWAYS_INLINE void note(const volatile void *address, size_t bytes, bool is_write, uintptr_t place)
{
	if (is_on())
		note_range((uintptr_t)address, bytes, is_write, place);
}

/* --- what the compiler calls --- */

#define ACCESS(bytes) \
	void __tsan_read##bytes(void *a) \
	{ \
		note(a, bytes, false, HERE); \
	} \
	void __tsan_write##bytes(void *a) \
	{ \
		note(a, bytes, true, HERE); \
	} \
	void __tsan_unaligned_read##bytes(void *a) \
	{ \
		note(a, bytes, false, HERE); \
	} \
	void __tsan_unaligned_write##bytes(void *a) \
	{ \
		note(a, bytes, true, HERE); \
	}
ACCESS(1)
ACCESS(2)
ACCESS(4)
ACCESS(8)
ACCESS(16)

void __tsan_read_range(void *a, size_t bytes)
{
	note(a, bytes, false, HERE);
}
void __tsan_write_range(void *a, size_t bytes)
{
	note(a, bytes, true, HERE);
}
void __tsan_vptr_update(void **a, void *v)
{
	(void)v;
	note(a, sizeof(*a), true, HERE);
}
void __tsan_func_entry(void *caller)
{
	(void)caller;
}
void __tsan_func_exit(void)
{
}
void __tsan_init(void)
{
}
void __tsan_atomic_thread_fence(int order)
{
	(void)order;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}
void __tsan_atomic_signal_fence(int order)
{
	(void)order;
}

#define FETCH(bits, name) \
	uint##bits##_t __tsan_atomic##bits##_fetch_##name(volatile uint##bits##_t *a, uint##bits##_t v, int order) \
	{ \
		(void)order; \
		note(a, sizeof(*a), true, HERE); \
		return __atomic_fetch_##name(a, v, __ATOMIC_SEQ_CST); \
	}
#define EXCHANGE_IF(bits, name) \
	int __tsan_atomic##bits##_compare_exchange_##name(volatile uint##bits##_t *a, uint##bits##_t *old, uint##bits##_t v, int order, \
	                                                  int other) \
	{ \
		(void)order, (void)other; \
		note(a, sizeof(*a), true, HERE); \
		return __atomic_compare_exchange_n(a, old, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); \
	}
/* clang-format does not come to an end with macros that stand side by side. */
/* clang-format off */
#define ATOMIC(bits) \
	uint##bits##_t __tsan_atomic##bits##_load(const volatile uint##bits##_t *a, int order) \
	{ \
		(void)order; \
		note(a, sizeof(*a), false, HERE); \
		return __atomic_load_n(a, __ATOMIC_SEQ_CST); \
	} \
	void __tsan_atomic##bits##_store(volatile uint##bits##_t *a, uint##bits##_t v, int order) \
	{ \
		(void)order; \
		note(a, sizeof(*a), true, HERE); \
		__atomic_store_n(a, v, __ATOMIC_SEQ_CST); \
	} \
	uint##bits##_t __tsan_atomic##bits##_exchange(volatile uint##bits##_t *a, uint##bits##_t v, int order) \
	{ \
		(void)order; \
		note(a, sizeof(*a), true, HERE); \
		return __atomic_exchange_n(a, v, __ATOMIC_SEQ_CST); \
	} \
	uint##bits##_t __tsan_atomic##bits##_compare_exchange_val(volatile uint##bits##_t *a, uint##bits##_t old, uint##bits##_t v, \
	                                                          int order, int other) \
	{ \
		(void)order, (void)other; \
		note(a, sizeof(*a), true, HERE); \
		(void)__atomic_compare_exchange_n(a, &old, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); \
		return old; \
	} \
	FETCH(bits, add) \
	FETCH(bits, sub) FETCH(bits, and) FETCH(bits, or) FETCH(bits, xor) FETCH(bits, nand) EXCHANGE_IF(bits, strong) \
		EXCHANGE_IF(bits, weak)
ATOMIC(8)
ATOMIC(16)
ATOMIC(32)
ATOMIC(64)
/* clang-format on */

/* --- what the linker leads here: the calls of the program's own objects (--wrap) --- */

#define WRAPPED(type, name, ...) \
	type __real_##name(__VA_ARGS__); \
	type __wrap_##name(__VA_ARGS__)

WRAPPED(void *, memcpy, void *to, const void *from, size_t bytes)
{
	note(to, bytes, true, HERE);
	note(from, bytes, false, HERE);
	return __real_memcpy(to, from, bytes);
}

WRAPPED(void *, memmove, void *to, const void *from, size_t bytes)
{
	note(to, bytes, true, HERE);
	note(from, bytes, false, HERE);
	return __real_memmove(to, from, bytes);
}

WRAPPED(void *, memset, void *to, int c, size_t bytes)
{
	note(to, bytes, true, HERE);
	return __real_memset(to, c, bytes);
}

WRAPPED(ssize_t, recv, int fd, void *to, size_t bytes, int flags)
{
	ssize_t n = __real_recv(fd, to, bytes, flags);

	if (n > 0)
		note(to, (size_t)n, true, HERE);
	return n;
}

WRAPPED(ssize_t, readv, int fd, const struct iovec *parts, int count)
{
	ssize_t n = __real_readv(fd, parts, count), left = n;

	for (int i = 0; i < count && left > 0; i++) {
		size_t bytes = parts[i].iov_len < (size_t)left ? parts[i].iov_len : (size_t)left;

		note(parts[i].iov_base, bytes, true, HERE);
		left -= (ssize_t)bytes;
	}
	return n;
}

WRAPPED(int, epoll_wait, int loop, struct epoll_event *events, int most, int timeout)
{
	int n = __real_epoll_wait(loop, events, most, timeout);

	if (n > 0)
		note(events, (size_t)n * sizeof(*events), true, HERE);
	return n;
}

WRAPPED(int, pthread_mutex_lock, pthread_mutex_t *lock)
{
	if (is_on())
		me()->locks++;
	note(lock, sizeof(*lock), true, HERE);
	return __real_pthread_mutex_lock(lock);
}

static struct block *block_of(void *p)
{
	size_t i = spread((uintptr_t)p >> 4, BLOCKS_MAX);

	for (size_t looks = 0; looks < BLOCKS_MAX; looks++, i = (i + 1) & (BLOCKS_MAX - 1)) {
		uintptr_t found = 0;

		if (atomic_compare_exchange_strong(&blocks[i].address, &found, (uintptr_t)p) || found == (uintptr_t)p)
			return &blocks[i];
	}
	abort();
}

static void *took(void *p)
{
	if (!control || !p)
		return p;
	atomic_store(&block_of(p)->owner, my_number());
	if (is_on())
		me()->taken++;
	return p;
}

/* What comes to lie there next is another block, maybe another thread's. */
static void forget(const void *p, size_t bytes)
{
	uintptr_t last = ((uintptr_t)p + bytes - 1) >> LINE_SHIFT;

	for (uintptr_t number = (uintptr_t)p >> LINE_SHIFT; number <= last; number++) {
		struct line *line = line_of(me(), number, false);

		if (line)
			line->reads = line->writes = 0;
	}
}

static void gives(void *p)
{
	int owner;

	if (!control || !p)
		return;
	if (malloc_usable_size(p) > PIECE_MAX)
		forget(p, malloc_usable_size(p));
	owner = atomic_exchange(&block_of(p)->owner, 0);
	if (is_on()) {
		me()->given++;
		me()->given_of_others += owner != 0 && owner != my_number();
	}
}

WRAPPED(void *, malloc, size_t bytes)
{
	return took(__real_malloc(bytes));
}

WRAPPED(void *, calloc, size_t count, size_t bytes)
{
	return took(__real_calloc(count, bytes));
}

WRAPPED(void *, realloc, void *p, size_t bytes)
{
	gives(p);
	return took(__real_realloc(p, bytes));
}

WRAPPED(void, free, void *p)
{
	gives(p);
	__real_free(p);
}

/* --- the report --- */

static char report_path[4096];

static __attribute__((constructor)) void begin(void)
{
	const char *path = getenv("CULVERT_SHARING");
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	void *byte = MAP_FAILED;

	if (fd < 0)
		return;
	(void)snprintf(report_path, sizeof(report_path), "%s.report", path);
	blocks = zeroes(BLOCKS_MAX * sizeof(*blocks));
	byte = mmap(NULL, 1, PROT_READ, MAP_SHARED, fd, 0);
	(void)close(fd);
	if (byte != MAP_FAILED)
		control = byte;
}

/* NULL: the thread did not touch it, or has forgotten it. */
static const struct line *touched(struct thread *t, uintptr_t number)
{
	const struct line *line = t ? line_of(t, number, false) : NULL;

	return line && (line->reads || line->writes) ? line : NULL;
}

static void report_line(FILE *out, const struct line *line, int first)
{
	bool is_shared = false, is_written = line->writes > 0;

	for (int i = 0; i < threads_count; i++) {
		const struct line *other = i != first ? touched(threads[i], line->number) : NULL;

		if (other && i < first)
			return; /* it was told there */
		is_shared |= other != NULL;
		is_written |= other && other->writes > 0;
	}
	if (!is_shared || !is_written)
		return;
	fprintf(out, "line %#jx\n", (uintmax_t)((line->number << LINE_SHIFT) - (uintptr_t)__executable_start));
	for (int i = first; i < threads_count; i++) {
		const struct line *l = touched(threads[i], line->number);

		if (l)
			fprintf(out, "  %s reads %u at %#jx writes %u at %#jx\n", threads[i]->name, l->reads,
			        l->reads ? (uintmax_t)(l->read_at - (uintptr_t)__executable_start) : 0, l->writes,
			        l->writes ? (uintmax_t)(l->written_at - (uintptr_t)__executable_start) : 0);
	}
}

static __attribute__((destructor)) void end(void)
{
	FILE *out;

	if (!control)
		return;
	control = NULL;
	out = fopen(report_path, "we");
	if (!out)
		return;
	for (int i = 0; i < threads_count; i++) {
		for (size_t n = 0; threads[i] && n < LINES_MAX; n++) {
			if (threads[i]->lines[n].reads || threads[i]->lines[n].writes)
				report_line(out, &threads[i]->lines[n], i);
		}
	}
	for (int i = 0; i < threads_count; i++) {
		if (threads[i])
			fprintf(out, "thread %s lines %zu locks %ju taken %ju given %ju of_others %ju\n", threads[i]->name,
			        threads[i]->lines_count, (uintmax_t)threads[i]->locks, (uintmax_t)threads[i]->taken,
			        (uintmax_t)threads[i]->given, (uintmax_t)threads[i]->given_of_others);
	}
	(void)fclose(out);
}
