/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "edge/pins.h"

#include "edge/attach.h"
#include "edge/fault.h"

#include "shared.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

enum { PATH_BYTES = 256 };

int pins_make_directory(const char *directory, char error[EDGE_ERROR_BYTES])
{
	char path[PATH_BYTES];
	struct statfs fs;
	char *slash;

	if (strlen(directory) >= sizeof(path) || directory[0] != '/')
		return edge_fault(error, -EINVAL, "%s: not a usable folder for BPF pins", directory);
	(void)snprintf(path, sizeof(path), "%s", directory);
	while (statfs(path, &fs)) {
		slash = strrchr(path, '/');
		/* A bpffs answers EPERM for a name with a dot: told below. */
		if ((errno != ENOENT && errno != EPERM) || !slash || slash == path)
			return edge_fault(error, -errno, "%s: %s", path, strerror(errno));
		*slash = '\0';
	}
	if ((uint32_t)fs.f_type != BPF_FS_MAGIC)
		return edge_fault(error, -ENOTSUP, "%s is not on a BPF file system (mount -t bpf bpf /sys/fs/bpf makes one)", directory);
	if (strchr(directory + strlen(path), '.'))
		return edge_fault(error, -EINVAL, "%s: a BPF file system takes no dot in a name", directory);
	while (strcmp(path, directory)) {
		size_t end = strlen(path) + 1;

		end += strcspn(directory + end, "/");
		(void)snprintf(path, end + 1, "%s", directory);
		if (mkdir(path, 0700) && errno != EEXIST)
			return edge_fault(error, -errno, "%s: %s", path, strerror(errno));
	}
	return 0;
}

static void pin_path(const char *directory, const char *name, char path[ATTACH_PATH_BYTES])
{
	(void)snprintf(path, ATTACH_PATH_BYTES, "%s/%s", directory, name);
}

bool pins_is_shared_map(const struct bpf_map *m)
{
	return !strchr(bpf_map__name(m), '.');
}

int pins_open(const char *directory, const char *name, size_t key_bytes, size_t value_bytes)
{
	struct bpf_map_info info = { 0 };
	uint32_t size = sizeof(info);
	char path[ATTACH_PATH_BYTES];
	int fd;

	pin_path(directory, name, path);
	fd = bpf_obj_get(path);
	if (fd < 0)
		return -errno;
	if (!bpf_obj_get_info_by_fd(fd, &info, &size) && info.key_size == key_bytes && info.value_size == value_bytes)
		return fd;
	(void)close(fd);
	return -EINVAL;
}

bool pins_is_version_known(const char *directory)
{
	int fd = pins_open(directory, "settings", sizeof(uint32_t), sizeof(struct edge_config));
	struct edge_config config;
	uint32_t zero = 0;
	bool is_known;

	if (fd < 0)
		return false;
	is_known = !bpf_map_lookup_elem(fd, &zero, &config) && config.version == CULVERT_SHARED_VERSION;
	(void)close(fd);
	return is_known;
}

bool pins_are_usable(const struct bpf_object *object, const char *directory)
{
	struct bpf_map *m;

	bpf_object__for_each_map(m, object) {
		struct bpf_map_info info = { 0 };
		uint32_t size = sizeof(info);
		bool is_usable;
		int fd;

		if (!pins_is_shared_map(m))
			continue;
		fd = pins_open(directory, bpf_map__name(m), bpf_map__key_size(m), bpf_map__value_size(m));
		if (fd < 0)
			return false;
		is_usable = !bpf_obj_get_info_by_fd(fd, &info, &size) && info.type == bpf_map__type(m) &&
		            info.max_entries == bpf_map__max_entries(m);
		(void)close(fd);
		if (!is_usable)
			return false;
	}
	return pins_is_version_known(directory);
}

bool pins_are_there(const struct bpf_object *object, const char *directory)
{
	struct bpf_map *m;
	char path[ATTACH_PATH_BYTES];

	bpf_object__for_each_map(m, object) {
		pin_path(directory, bpf_map__name(m), path);
		if (pins_is_shared_map(m) && !access(path, F_OK))
			return true;
	}
	return false;
}

int pins_reuse(struct bpf_object *object, const char *directory)
{
	struct bpf_map *m;
	char path[ATTACH_PATH_BYTES];

	bpf_object__for_each_map(m, object) {
		int fd, error;

		if (!pins_is_shared_map(m))
			continue;
		pin_path(directory, bpf_map__name(m), path);
		fd = bpf_obj_get(path);
		if (fd < 0)
			return -errno;
		error = bpf_map__reuse_fd(m, fd);
		(void)close(fd);
		if (error)
			return error;
	}
	return 0;
}

int pins_replace(struct bpf_object *object, const char *directory)
{
	struct bpf_map *m;
	char path[ATTACH_PATH_BYTES];

	bpf_object__for_each_map(m, object) {
		if (!pins_is_shared_map(m))
			continue;
		pin_path(directory, bpf_map__name(m), path);
		(void)unlink(path);
		if (bpf_obj_pin(bpf_map__fd(m), path))
			return -errno;
	}
	return 0;
}

int pins_remove(const char *directory, char error[EDGE_ERROR_BYTES])
{
	char path[ATTACH_PATH_BYTES];
	struct dirent *entry;
	DIR *folder;

	attach_remove_all(directory);
	folder = opendir(directory);
	if (!folder)
		return errno == ENOENT ? 0 : edge_fault(error, -errno, "%s: %s", directory, strerror(errno));
	while ((entry = readdir(folder))) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		if (snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name) < (int)sizeof(path))
			(void)unlink(path);
	}
	(void)closedir(folder);
	if (rmdir(directory))
		return edge_fault(error, -errno, "%s: %s", directory, strerror(errno));
	return 0;
}
