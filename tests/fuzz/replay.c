/* SPDX-License-Identifier: GPL-3.0-or-later */
/* replay.c - the main of a fuzz target that is not built for fuzzing: each file of the corpora named on the command line, once. */
#include "target.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { INPUT_BYTES_MAX = 1 << 20 };

/* The input lies at the very end of its own memory, so that AddressSanitizer sees a read behind it. */
static int replay_file(const char *path)
{
	static uint8_t buffer[INPUT_BYTES_MAX];
	FILE *file = fopen(path, "rb");
	uint8_t *data;
	size_t size;

	if (!file) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return -1;
	}
	size = fread(buffer, 1, sizeof(buffer), file);
	(void)fclose(file);
	data = malloc(size ? size : 1);
	if (!data)
		abort();
	memcpy(data, buffer, size);
	(void)LLVMFuzzerTestOneInput(data, size);
	free(data);
	return 0;
}

static int replay_folder(const char *folder, unsigned *count)
{
	DIR *dir = opendir(folder);
	struct dirent *entry;
	int failed = 0;

	if (!dir) {
		fprintf(stderr, "%s: %s\n", folder, strerror(errno));
		return -1;
	}
	while ((entry = readdir(dir))) {
		char path[4096];

		if (entry->d_name[0] == '.')
			continue;
		if (snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name) >= (int)sizeof(path) || replay_file(path))
			failed = -1;
		else
			(*count)++;
	}
	(void)closedir(dir);
	return failed;
}

int main(int argc, char **argv)
{
	unsigned count = 0;
	int i, failed = 0;

	for (i = 1; i < argc; i++)
		if (replay_folder(argv[i], &count))
			failed = 1;
	printf("%u inputs replayed\n", count);
	if (!count) {
		fprintf(stderr, "no input: the corpus is empty\n");
		return 1;
	}
	return failed;
}
