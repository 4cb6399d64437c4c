// A filesystem of several machines on one: what one process makes, processes of other machines see late.
//
// For LD_PRELOAD, on 64-bit Linux with glibc: cc -shared -fPIC -O1 -o late.so late.c -ldl
//
//   LATE_HOST     the machine that this process is said to be on
//   LATE_SECONDS  how late others see what it does
//   LATE_UNDER    the folder below which that is so: an absolute path without symbolic links
//   LATE_STATE    a folder elsewhere, for who did what and when
//
// As NFS clients do with default options, and no kinder:
// - a name that another machine made is not there yet: not in listings, not for open, stat or access;
// - one that another machine removed is still in listings and for stat, from what is cached, and open asks the
//   server: it is gone;
// - what makes, renames or removes is done by the server at once: O_CREAT|O_EXCL fails on a name that is not
//   seen yet. A name that was there before is new to nobody, whatever is renamed to it.
// Folders are seen at once.
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define LONG (2 * PATH_MAX)
// The next function of this name: the C library's.
#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t); // One for all processes, and nobody sets it.
    return t.tv_sec + t.tv_nsec * 1e-9;
}

// Says whether a path is below the folder, and how it is called in marks: from there on, `!` for `/`.
static int is_ours(int at, const char *path, char *name) {
    char full[LONG] = "", plain[LONG] = "", link[64], *rest, *part;
    const char *under = getenv("LATE_UNDER");
    if (!under || !getenv("LATE_HOST") || !getenv("LATE_STATE") || !path || !*path) return 0;
    if (*path != '/') {
        snprintf(link, sizeof link, at == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", at);
        if (readlink(link, full, PATH_MAX - 1) < 0) return 0;
    }
    size_t length = strlen(full);
    snprintf(full + length, LONG - length, "/%s", path);
    for (part = strtok_r(full, "/", &rest); part; part = strtok_r(NULL, "/", &rest)) {
        if (!strcmp(part, "..")) *(strrchr(plain, '/') ?: plain) = 0;
        else if (strcmp(part, ".")) strcat(strcat(plain, "/"), part);
    }
    length = strlen(under);
    if (strncmp(plain, under, length) || plain[length] != '/') return 0;
    strcpy(name, plain + length + 1);
    for (char *slash = name; (slash = strchr(slash, '/'));) *slash = '!';
    return 1;
}

// All that looks at marks holds this, and what makes them holds it alone: no file is there without its mark.
// The system gives it back for a process that is killed.
static int lock(int how) {
    char path[LONG];
    snprintf(path, LONG, "%s/lock", getenv("LATE_STATE"));
    int fd = syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    while (flock(fd, how) && errno == EINTR) {}
    return fd;
}

static void unlock(int fd) {
    int error = errno;
    flock(fd, LOCK_UN); // A child that has not yet begun its program may hold a copy.
    close(fd);
    errno = error;
}

// Marks are files `made/NAME` and `gone/NAME` that hold when, and by which machine.
static void mark_path(char *path, const char *kind, const char *name) {
    snprintf(path, LONG, "%s/%s/%s", getenv("LATE_STATE"), kind, name);
}

static void set_mark(const char *kind, const char *name) {
    char path[LONG], text[300];
    mark_path(path, kind, "");
    mkdir(path, 0700);
    mark_path(path, kind, name);
    int fd = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    int length = snprintf(text, sizeof text, "%.6f %s", now(), getenv("LATE_HOST"));
    if (fd < 0 || write(fd, text, length) != length) abort(); // Else a test would prove nothing.
    close(fd);
}

static void drop_mark(const char *kind, const char *name) {
    char path[LONG];
    mark_path(path, kind, name);
    syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

// Says whether a mark is so new that others do not know of it, and `of_others`: nor does this machine.
static int is_new(const char *kind, const char *name, int of_others) {
    char path[LONG], text[300] = "", *host;
    mark_path(path, kind, name);
    int fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY);
    if (fd < 0) return 0;
    if (read(fd, text, sizeof text - 1) < 0) abort();
    close(fd);
    double age = now() - strtod(text, &host);
    int is_own = !strcmp(host + 1, getenv("LATE_HOST"));
    return age < atof(getenv("LATE_SECONDS") ?: "1") && !(of_others && is_own);
}

static void came(const char *name) {
    drop_mark("gone", name);
    set_mark("made", name);
}

static void went(const char *name) {
    // What nobody had seen, nobody believes to be there.
    if (!is_new("made", name, 0)) set_mark("gone", name);
    drop_mark("made", name);
}

static int is_there(int at, const char *path) { return !syscall(SYS_faccessat, at, path, F_OK); }

// Opening.

static int do_open(int at, const char *path, int flags, mode_t mode) {
    char name[LONG];
    if (!is_ours(at, path, name)) return syscall(SYS_openat, at, path, flags, mode);
    int makes = flags & O_CREAT, fd = -1;
    int held = lock(makes ? LOCK_EX : LOCK_SH);
    int was_there = is_there(at, path);
    if (!makes && is_new("made", name, 1)) errno = ENOENT;
    else fd = syscall(SYS_openat, at, path, flags, mode);
    if (fd >= 0 && makes && !was_there) came(name);
    unlock(held);
    return fd;
}

#define MODE(last)                                                                                                   \
    va_list more;                                                                                                    \
    va_start(more, last);                                                                                            \
    mode_t mode = last & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;                                           \
    va_end(more)

int open(const char *path, int flags, ...) { MODE(flags); return do_open(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags); return do_open(AT_FDCWD, path, flags, mode); }
int openat(int at, const char *path, int flags, ...) { MODE(flags); return do_open(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { MODE(flags); return do_open(at, path, flags, mode); }
int creat(const char *path, mode_t mode) { return do_open(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return creat(path, mode); }

// Asking for attributes.

// Says whether a name is not seen yet; a question about one that is gone, and believed, is answered by its mark,
// a plain file too.
static int is_hidden(int at, const char **path, char *old) {
    char name[LONG];
    if (!is_ours(at, *path, name)) return 0;
    int held = lock(LOCK_SH);
    int is_hidden = is_new("made", name, 1), is_stale = is_new("gone", name, 1);
    unlock(held);
    if (is_stale) {
        mark_path(old, "gone", name);
        *path = old;
    }
    errno = is_hidden ? ENOENT : errno;
    return is_hidden;
}

static int do_stat(int at, const char *path, void *into, int flags) {
    char old[LONG];
    return is_hidden(at, &path, old) ? -1 : syscall(SYS_newfstatat, at, path, into, flags);
}

int stat(const char *path, struct stat *into) { return do_stat(AT_FDCWD, path, into, 0); }
int stat64(const char *path, struct stat64 *into) { return do_stat(AT_FDCWD, path, into, 0); }
int lstat(const char *path, struct stat *into) { return do_stat(AT_FDCWD, path, into, AT_SYMLINK_NOFOLLOW); }
int lstat64(const char *path, struct stat64 *into) { return do_stat(AT_FDCWD, path, into, AT_SYMLINK_NOFOLLOW); }
int fstatat(int at, const char *path, struct stat *into, int flags) { return do_stat(at, path, into, flags); }
int fstatat64(int at, const char *path, struct stat64 *into, int flags) { return do_stat(at, path, into, flags); }

int statx(int at, const char *path, int flags, unsigned mask, struct statx *into) {
    char old[LONG];
    return is_hidden(at, &path, old) ? -1 : syscall(SYS_statx, at, path, flags, mask, into);
}

int faccessat(int at, const char *path, int mode, int flags) {
    char old[LONG];
    return is_hidden(at, &path, old) ? -1 : NEXT(faccessat)(at, path, mode, flags);
}
int access(const char *path, int mode) { return faccessat(AT_FDCWD, path, mode, 0); }

// Renaming and removing.

int renameat2(int from_at, const char *from, int to_at, const char *to, unsigned flags) {
    char before[LONG], after[LONG];
    int leaves = is_ours(from_at, from, before), arrives = is_ours(to_at, to, after);
    if (!leaves && !arrives) return syscall(SYS_renameat2, from_at, from, to_at, to, flags);
    int held = lock(LOCK_EX);
    int was_there = is_there(to_at, to);
    int failed = syscall(SYS_renameat2, from_at, from, to_at, to, flags);
    if (!failed && leaves) went(before);
    if (!failed && arrives && !was_there) came(after);
    unlock(held);
    return failed;
}
int renameat(int from_at, const char *from, int to_at, const char *to) {
    return renameat2(from_at, from, to_at, to, 0);
}
int rename(const char *from, const char *to) { return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0); }

int linkat(int from_at, const char *from, int to_at, const char *to, int flags) {
    char name[LONG];
    if (!is_ours(to_at, to, name)) return syscall(SYS_linkat, from_at, from, to_at, to, flags);
    int held = lock(LOCK_EX);
    int failed = syscall(SYS_linkat, from_at, from, to_at, to, flags);
    if (!failed) came(name);
    unlock(held);
    return failed;
}
int link(const char *from, const char *to) { return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }

int unlinkat(int at, const char *path, int flags) {
    char name[LONG];
    if (flags & AT_REMOVEDIR || !is_ours(at, path, name)) return syscall(SYS_unlinkat, at, path, flags);
    int held = lock(LOCK_EX);
    int failed = syscall(SYS_unlinkat, at, path, flags);
    if (!failed) went(name);
    unlock(held);
    return failed;
}
int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }

// Listing: what is there and seen, then what is gone and still believed.

// A listing that has come to its end, and the listing of marks that follows.
static struct end {
    DIR *of, *marks;
    struct dirent64 entry;
    struct end *next;
} *ends;
static pthread_mutex_t ends_mutex = PTHREAD_MUTEX_INITIALIZER;

static struct end *end_of(DIR *dir, int remove) {
    pthread_mutex_lock(&ends_mutex);
    struct end **at = &ends, *found;
    while (*at && (*at)->of != dir) at = &(*at)->next;
    found = *at;
    if (found && remove) *at = found->next;
    if (!found && !remove) {
        char path[LONG];
        mark_path(path, "gone", "");
        found = calloc(1, sizeof *found);
        *found = (struct end){.of = dir, .marks = opendir(path), .next = ends};
        ends = found;
    }
    pthread_mutex_unlock(&ends_mutex);
    return found;
}

static int is_new_locked(const char *kind, const char *name) {
    int held = lock(LOCK_SH), is = is_new(kind, name, 1);
    unlock(held);
    return is;
}

struct dirent64 *readdir64(DIR *dir) {
    char name[LONG];
    struct dirent64 *found;
    int error = errno; // Which says, unchanged, that this is the end.
    if (!is_ours(dirfd(dir), "x", name)) return NEXT(readdir64)(dir);
    size_t folder = strlen(name) - 1;
    while ((found = NEXT(readdir64)(dir))) {
        strcpy(name + folder, found->d_name);
        if (!is_new_locked("made", name)) return found;
    }
    struct end *end = end_of(dir, 0);
    while (end->marks && (found = NEXT(readdir64)(end->marks))) {
        const char *rest = found->d_name + folder;
        int is_here = !strncmp(found->d_name, name, folder) && strlen(found->d_name) > folder && !strchr(rest, '!');
        if (!is_here || *rest == '.' || !is_new_locked("gone", found->d_name)) continue;
        end->entry = *found;
        memmove(end->entry.d_name, end->entry.d_name + folder, strlen(rest) + 1);
        errno = error;
        return &end->entry;
    }
    errno = error;
    return NULL;
}
struct dirent *readdir(DIR *dir) { return (struct dirent *)readdir64(dir); }

int closedir(DIR *dir) {
    struct end *end = end_of(dir, 1);
    if (end && end->marks) NEXT(closedir)(end->marks);
    free(end);
    return NEXT(closedir)(dir);
}
