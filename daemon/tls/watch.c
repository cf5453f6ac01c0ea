/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tls/cred.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

/* In a folder of files: what ends a change. A write is told at its end, not while it goes on. */
#define WATCH_FILES (IN_CLOSE_WRITE | IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF | IN_ATTRIB)
/* Above it: the folder, or a link of that name, comes, goes or is replaced. */
#define WATCH_PARENT (IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE)

struct cred_watch {
	int fd;
	char *directory, *parent, *data;      /* data: the link ..data */
	const char *name;                     /* of the folder, in parent's */
	int parent_wd, directory_wd, data_wd; /* -1: nothing there to watch */
};

/* Points *wd at what path is now; whether an older watch went. The kernel gives one descriptor for one inode, so a folder that was replaced
 * gets a new one, and the old one watches what is no longer ours. */
static bool watch_renew(struct cred_watch *w, const char *path, int *wd)
{
	int now = inotify_add_watch(w->fd, path, WATCH_FILES | IN_ONLYDIR), old = *wd;

	*wd = now;
	return old >= 0 && old != now && inotify_rm_watch(w->fd, old) == 0;
}

static bool watch_renew_all(struct cred_watch *w)
{
	bool has_removed = watch_renew(w, w->directory, &w->directory_wd);

	return watch_renew(w, w->data, &w->data_wd) || has_removed;
}

int cred_watch_create(const char *directory, struct cred_watch **ret)
{
	struct cred_watch *w = calloc(1, sizeof(*w));
	size_t len = strlen(directory);
	const char *slash;
	int r = -ENOMEM;

	if (!w)
		return -ENOMEM;
	w->fd = w->parent_wd = w->directory_wd = w->data_wd = -1;
	while (len > 1 && directory[len - 1] == '/')
		len--;
	w->directory = strndup(directory, len);
	w->data = malloc(len + sizeof("/..data"));
	if (!w->directory || !w->data)
		goto fail;
	stpcpy(stpcpy(w->data, w->directory), "/..data");
	slash = strrchr(w->directory, '/');
	w->name = slash ? slash + 1 : w->directory;
	w->parent = slash ? strndup(w->directory, slash == w->directory ? 1 : (size_t)(slash - w->directory)) : strdup(".");
	if (!w->parent)
		goto fail;
	w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (w->fd < 0) {
		r = -errno;
		goto fail;
	}
	w->parent_wd = inotify_add_watch(w->fd, w->parent, WATCH_PARENT | IN_ONLYDIR);
	if (w->parent_wd < 0) {
		r = -errno;
		goto fail;
	}
	(void)watch_renew_all(w);
	*ret = w;
	return 0;
fail:
	cred_watch_destroy(w);
	return r;
}

void cred_watch_destroy(struct cred_watch *w)
{
	if (!w)
		return;
	if (w->fd >= 0)
		close(w->fd);
	free(w->directory);
	free(w->data);
	free(w->parent);
	free(w);
}

int cred_watch_fd(const struct cred_watch *w)
{
	return w->fd;
}

/* The folder above may hold anything: only our folder's own name counts there. A lost event counts as one of ours. */
static bool watch_is_ours(const struct cred_watch *w, const struct inotify_event *e)
{
	if (e->mask & IN_Q_OVERFLOW)
		return true;
	if (e->wd == w->directory_wd || e->wd == w->data_wd)
		return true;
	return e->wd == w->parent_wd && e->len && strcmp(e->name, w->name) == 0;
}

/* Takes what the kernel has queued; whether any of it was about our folder. */
static bool watch_read(struct cred_watch *w)
{
	_Alignas(struct inotify_event) char buffer[16 * (sizeof(struct inotify_event) + NAME_MAX + 1)];
	bool is_ours = false;
	ssize_t n;

	while ((n = read(w->fd, buffer, sizeof(buffer))) > 0 || (n < 0 && errno == EINTR)) {
		for (ssize_t at = 0; at < n;) {
			const struct inotify_event *e = (const struct inotify_event *)(const void *)(buffer + at);

			is_ours = watch_is_ours(w, e) || is_ours;
			/* A watch that the kernel took away with its folder: it must not be removed once more. */
			if ((e->mask & IN_IGNORED) && e->wd == w->directory_wd)
				w->directory_wd = -1;
			if ((e->mask & IN_IGNORED) && e->wd == w->data_wd)
				w->data_wd = -1;
			at += (ssize_t)(sizeof(*e) + e->len);
		}
	}
	return is_ours;
}

bool cred_watch_drain(struct cred_watch *w)
{
	bool is_ours = watch_read(w);

	/* Removing a watch makes one more event, which is nobody's. */
	while (watch_renew_all(w))
		is_ours = watch_read(w) || is_ours;
	return is_ours;
}
