/* Preloaded into the daemon (LD_PRELOAD): writes down what it asks of the file system, and stalls its syncs.
 *
 * RECORDER_LOG    the log: one record appended by one write(2), so records of threads and processes never mix.
 * RECORDER_ROOT   only files and directories below this folder.
 * RECORDER_STALL  while a file of this name exists, fsync, fdatasync and sync_file_range do not begin.
 *
 * Record: kind (1 byte), a, b, c (8 bytes each), length (4), that many bytes, in the machine's byte order.
 *   W inode, offset, data          written            T inode, length             cut or made longer
 *   B inode, length, ticket        a sync begins      E inode, 0, ticket          it has returned 0
 *   C directory, inode, name       a new file         M directory, inode, name    a new directory
 *   R directory, directory, old NUL new: renamed      U directory, name: removed
 *   A device, message: acknowledged (appended by the clients)
 *
 * The order proves what the checks rest on. A write is recorded before write(2) returns, and a sync's end before
 * fsync(2) returns: so whoever saw a write return and then began a sync has W before B, and whoever acknowledged
 * after a sync has E before the client's A. A record may be later than its deed, which only makes the power cut
 * crueller (W) or the demand milder (A). sync_file_range makes nothing durable and is not recorded. What bypasses
 * libc (a raw fallocate) is seen by its effect: a sync's beginning tells the file's length.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define REAL(result, name, ...)                                         \
    static result (*real)(__VA_ARGS__);                                 \
    if (!real) real = (result(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)

static void record(char kind, uint64_t a, uint64_t b, uint64_t c, const void *data, uint32_t length) {
    static int log = -1;
    if (log < 0) {
        const char *path = getenv("RECORDER_LOG");
        if (!path) return;
        static int (*real_open)(const char *, int, ...);
        real_open = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open");
        log = real_open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
        if (log < 0) abort();
    }
    char head[29] = {kind};
    memcpy(head + 1, &a, 8), memcpy(head + 9, &b, 8), memcpy(head + 17, &c, 8), memcpy(head + 25, &length, 4);
    struct iovec parts[2] = {{head, sizeof head}, {(void *)data, length}};
    REAL(ssize_t, writev, int, const struct iovec *, int);
    if (real(log, parts, 2) != (ssize_t)(sizeof head + length)) abort();
}

static int below_root(const char *path) {
    const char *root = getenv("RECORDER_ROOT");
    return root && !strncmp(path, root, strlen(root));
}

/* The file or directory behind fd, if it is one of ours: its facts. */
static int ours(int fd, struct stat *facts) {
    char link[64], path[4096];
    if (fd <= 2 || fstat(fd, facts) || !(S_ISREG(facts->st_mode) || S_ISDIR(facts->st_mode))) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    return below_root(path);
}

/* The inode of the directory that holds path, 0 where it is not below the root; name is the last part. */
static uint64_t parent(const char *path, const char **name) {
    char folder[4096], full[4096];
    const char *slash = strrchr(path, '/');
    *name = slash ? slash + 1 : path;
    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
    struct stat facts;
    if (!realpath(folder, full) || !below_root(full) || stat(full, &facts)) return 0;
    return facts.st_ino;
}

static uint64_t inode(const char *path) {
    struct stat facts;
    return lstat(path, &facts) ? 0 : facts.st_ino;
}

/* --- data --- */

static void wrote(int fd, const void *data, ssize_t length, off64_t offset) {
    int error = errno;
    struct stat facts;
    if (length > 0 && ours(fd, &facts)) {
        if (offset < 0) offset = lseek64(fd, 0, SEEK_CUR) - length;
        record('W', facts.st_ino, offset, 0, data, length);
    }
    errno = error;
}

ssize_t write(int fd, const void *data, size_t length) {
    REAL(ssize_t, write, int, const void *, size_t);
    ssize_t done = real(fd, data, length);
    wrote(fd, data, done, -1);
    return done;
}

ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset) {
    REAL(ssize_t, pwrite64, int, const void *, size_t, off64_t);
    ssize_t done = real(fd, data, length, offset);
    wrote(fd, data, done, offset);
    return done;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(ssize_t, writev, int, const struct iovec *, int);
    struct stat facts;
    if (!ours(fd, &facts)) return real(fd, parts, count);
    /* One part at a time: whoever writes vectors takes a short count. */
    while (count > 1 && !parts->iov_len) parts++, count--;
    return count > 0 ? write(fd, parts->iov_base, parts->iov_len) : 0;
}

int ftruncate64(int fd, off64_t length) {
    REAL(int, ftruncate64, int, off64_t);
    int failed = real(fd, length);
    struct stat facts;
    if (!failed && ours(fd, &facts)) record('T', facts.st_ino, length, 0, 0, 0);
    return failed;
}

/* Without these the standard library copies by read and write. */
ssize_t copy_file_range(int a, off64_t *b, int c, off64_t *d, size_t e, unsigned f) { return errno = ENOSYS, -1; }
ssize_t sendfile64(int a, int b, off64_t *c, size_t d) { return errno = ENOSYS, -1; }
ssize_t sendfile(int a, int b, off_t *c, size_t d) { return errno = ENOSYS, -1; }

/* --- syncs --- */

static void stall(void) {
    const char *path = getenv("RECORDER_STALL");
    const struct timespec pause = {0, 2000000};
    while (path && !access(path, F_OK)) nanosleep(&pause, 0);
}

static int synced(int fd, int (*real)(int)) {
    static uint64_t tickets;
    struct stat facts;
    int is_ours = ours(fd, &facts);
    uint64_t ticket = is_ours ? (uint64_t)getpid() << 40 | __sync_add_and_fetch(&tickets, 1) : 0;
    if (is_ours) stall();
    if (is_ours) record('B', facts.st_ino, facts.st_size, ticket, 0, 0);
    int failed = real(fd);
    if (is_ours && !failed) record('E', facts.st_ino, 0, ticket, 0, 0);
    return failed;
}

int fsync(int fd) {
    REAL(int, fsync, int);
    return synced(fd, real);
}

int fdatasync(int fd) {
    REAL(int, fdatasync, int);
    return synced(fd, real);
}

int sync_file_range(int fd, off64_t offset, off64_t length, unsigned flags) {
    REAL(int, sync_file_range, int, off64_t, off64_t, unsigned);
    struct stat facts;
    if (ours(fd, &facts)) stall();
    return real(fd, offset, length, flags);
}

/* --- names --- */

int open64(const char *path, int flags, ...) {
    REAL(int, open64, const char *, int, ...);
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    const char *name;
    uint64_t folder = flags & (O_CREAT | O_TRUNC) ? parent(path, &name) : 0;
    uint64_t before = folder ? inode(path) : 0;
    int fd = real(path, flags, mode);
    struct stat facts;
    if (fd >= 0 && folder && !fstat(fd, &facts)) {
        if (!before) record('C', folder, facts.st_ino, 0, name, strlen(name));
        if (before && flags & O_TRUNC) record('T', facts.st_ino, 0, 0, 0, 0);
    }
    return fd;
}

int open(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return open64(path, flags, mode);
}

int mkdir(const char *path, mode_t mode) {
    REAL(int, mkdir, const char *, mode_t);
    int failed = real(path, mode);
    const char *name;
    uint64_t folder = failed ? 0 : parent(path, &name);
    if (folder) record('M', folder, inode(path), 0, name, strlen(name));
    return failed;
}

int rename(const char *from, const char *to) {
    REAL(int, rename, const char *, const char *);
    const char *old, *new;
    uint64_t source = parent(from, &old), target = parent(to, &new);
    int failed = real(from, to);
    if (!failed && source && target) {
        char names[512];
        int length = snprintf(names, sizeof names, "%s%c%s", old, 0, new);
        record('R', source, target, 0, names, length);
    }
    return failed;
}

static int removed(int failed, uint64_t folder, const char *name) {
    if (!failed && folder) record('U', folder, 0, 0, name, strlen(name));
    return failed;
}

int unlink(const char *path) {
    REAL(int, unlink, const char *);
    const char *name;
    uint64_t folder = parent(path, &name);
    return removed(real(path), folder, name);
}

int rmdir(const char *path) {
    REAL(int, rmdir, const char *);
    const char *name;
    uint64_t folder = parent(path, &name);
    return removed(real(path), folder, name);
}

int unlinkat(int fd, const char *name, int flags) {
    REAL(int, unlinkat, int, const char *, int);
    struct stat facts;
    uint64_t folder = fd >= 0 && ours(fd, &facts) ? facts.st_ino : 0;
    return removed(real(fd, name, flags), folder, name);
}
