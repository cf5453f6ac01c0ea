/* SPDX-License-Identifier: GPL-3.0-or-later */
/* verify.c - loads each BPF program alone and prints one line of it: its name, "loaded" or why not, and how many instructions the kernel's
 * verifier walked. Below a program that is not taken stand the last lines of the verifier's log. For kernels that the build machine does not
 * run: what they walk grows by other rules than here. */
#include "edge.skel.h"
#include "steer.skel.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	LOG_NUMBERS = 4, /* BPF_LOG_STATS */
	LOG_BYTES = 1 << 20,
	LOG_SHOWN_BYTES = 2000,
};

static int print_nothing(enum libbpf_print_level level, const char *format, va_list args)
{
	(void)level;
	(void)format;
	(void)args;
	return 0;
}

/* The object with only its program at index to be loaded, or NULL: it has no more. */
static struct bpf_object *open_with_one(const void *elf, size_t elf_bytes, int index, struct bpf_program **ret_program)
{
	struct bpf_object *object = bpf_object__open_mem(elf, elf_bytes, NULL);
	struct bpf_program *p;
	int i = 0;

	*ret_program = NULL;
	if (!object)
		return NULL;
	bpf_object__for_each_program(p, object) {
		(void)bpf_program__set_autoload(p, i == index);
		if (i++ == index)
			*ret_program = p;
	}
	if (*ret_program)
		return object;
	bpf_object__close(object);
	return NULL;
}

static void verify_object(const void *elf, size_t elf_bytes, char *log)
{
	struct bpf_program *program;
	struct bpf_object *object;

	for (int index = 0; (object = open_with_one(elf, elf_bytes, index, &program)); index++) {
		const char *walked;
		int error;

		*log = '\0';
		(void)bpf_program__set_log_buf(program, log, LOG_BYTES);
		(void)bpf_program__set_log_level(program, LOG_NUMBERS);
		error = bpf_object__load(object);
		walked = strstr(log, "processed ");
		printf("%s %s %ld\n", bpf_program__name(program), error ? strerrorname_np(-error) : "loaded",
		       walked ? strtol(walked + strlen("processed "), NULL, 10) : -1L);
		if (error)
			printf("%s\n", strlen(log) > LOG_SHOWN_BYTES ? log + strlen(log) - LOG_SHOWN_BYTES : log);
		(void)fflush(stdout);
		bpf_object__close(object);
	}
}

int main(void)
{
	char *log = malloc(LOG_BYTES);
	const void *elf;
	size_t bytes;

	if (!log)
		return EXIT_FAILURE;
	(void)libbpf_set_print(print_nothing);
	elf = edge_bpf__elf_bytes(&bytes);
	verify_object(elf, bytes, log);
	elf = steer_bpf__elf_bytes(&bytes);
	verify_object(elf, bytes, log);
	free(log);
	return EXIT_SUCCESS;
}
