/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tls/generation.h"

#include "tls/folder.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define GENERATION_PREFIX "..generation-"
#define GENERATION_DATA   "..data"
#define GENERATION_NEW    "..data.new"

static_assert(GENERATION_ERROR_BYTES >= (int)CA_ERROR_BYTES, "sentences about files go through");

static DIR *open_folder(int dir_fd, const char *name)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d && fd >= 0)
		close(fd);
	return d;
}

/* Removes a generation's folder, which holds nothing but files. */
static void remove_folder(int dir_fd, const char *name)
{
	DIR *d = open_folder(dir_fd, name);
	struct dirent *e;

	if (!d)
		return;
	while ((e = readdir(d))) {
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			(void)unlinkat(dirfd(d), e->d_name, 0);
	}
	closedir(d);
	(void)unlinkat(dir_fd, name, AT_REMOVEDIR);
}

/* Removes all generations but this one: older ones, and what a crash left half made. */
static void remove_others(int dir_fd, const char *kept)
{
	DIR *d = open_folder(dir_fd, ".");
	struct dirent *e;

	if (!d)
		return;
	while ((e = readdir(d))) {
		if (strncmp(e->d_name, GENERATION_PREFIX, strlen(GENERATION_PREFIX)) == 0 && strcmp(e->d_name, kept) != 0)
			remove_folder(dir_fd, e->d_name);
	}
	closedir(d);
}

/* Makes name a link to target, in the place of whatever had that name. */
static int put_link(int dir_fd, const char *target, const char *name)
{
	(void)unlinkat(dir_fd, GENERATION_NEW, 0);
	return symlinkat(target, dir_fd, GENERATION_NEW) || renameat(dir_fd, GENERATION_NEW, dir_fd, name) ? -errno : 0;
}

static int write_files(int dir_fd, const char *path, const char *folder, const struct generation_file *files, size_t count,
                       char error[GENERATION_ERROR_BYTES])
{
	int fd, r = 0;

	if (mkdirat(dir_fd, folder, 0700))
		return ca_error(error, -errno, "%s: can not be made: %s", path, strerror(errno));
	fd = openat(dir_fd, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return ca_error(error, -errno, "%s: %s", path, strerror(errno));
	for (size_t i = 0; i < count && !r; i++) {
		/* Only read there. */
		struct pem_text text = { (char *)(uintptr_t)files[i].text, files[i].len_bytes };

		r = ca_file_write(fd, path, files[i].name, files[i].mode, &text, true, error);
	}
	close(fd);
	return r;
}

static int put_in_force(int dir_fd, const char *directory, const char *folder, const struct generation_file *files, size_t count,
                        char error[GENERATION_ERROR_BYTES])
{
	char target[NAME_MAX + 1];
	int r;

	r = put_link(dir_fd, folder, GENERATION_DATA);
	if (!r && fsync(dir_fd))
		r = -errno;
	if (r)
		return ca_error(error, r, "%s/" GENERATION_DATA ": can not be changed: %s", directory, strerror(-r));
	for (size_t i = 0; i < count; i++) {
		snprintf(target, sizeof(target), GENERATION_DATA "/%s", files[i].name);
		(void)put_link(dir_fd, target, files[i].name);
	}
	return 0;
}

/* Removes the links that point into ..data. */
static void remove_links(int dir_fd)
{
	DIR *d = open_folder(dir_fd, ".");
	char target[NAME_MAX + 1];
	struct dirent *e;

	if (!d)
		return;
	while ((e = readdir(d))) {
		ssize_t n = readlinkat(dir_fd, e->d_name, target, sizeof(target));

		if (n > (ssize_t)strlen(GENERATION_DATA) && strncmp(target, GENERATION_DATA "/", strlen(GENERATION_DATA "/")) == 0)
			(void)unlinkat(dir_fd, e->d_name, 0);
	}
	closedir(d);
	(void)unlinkat(dir_fd, GENERATION_DATA, 0);
	(void)unlinkat(dir_fd, GENERATION_NEW, 0);
}

void generation_remove(const char *directory)
{
	int dir_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir_fd < 0)
		return;
	remove_links(dir_fd);
	remove_others(dir_fd, "");
	close(dir_fd);
	(void)rmdir(directory);
}

int generation_write(const char *directory, const struct generation_file *files, size_t count,
                     int (*check)(void *ctx, const char *folder, char error[GENERATION_ERROR_BYTES]), void *ctx,
                     char error[GENERATION_ERROR_BYTES])
{
	char folder[64], path[PATH_MAX];
	uint64_t random;
	int dir_fd, r;

	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		return ca_error(error, -EIO, "no random numbers");
	snprintf(folder, sizeof(folder), GENERATION_PREFIX "%016llx", (unsigned long long)random);
	if (snprintf(path, sizeof(path), "%s/%s", directory, folder) >= (int)sizeof(path))
		return ca_error(error, -ENAMETOOLONG, "%.200s...: the path is too long", directory);
	r = ca_dir_open(directory, true, &dir_fd, error);
	if (r)
		return r;
	r = write_files(dir_fd, path, folder, files, count, error);
	if (!r && check)
		r = check(ctx, path, error);
	if (!r)
		r = put_in_force(dir_fd, directory, folder, files, count, error);
	if (r)
		remove_folder(dir_fd, folder);
	else
		remove_others(dir_fd, folder);
	close(dir_fd);
	return r;
}
