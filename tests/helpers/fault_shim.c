/* Preloaded into a process, it lets one system call below a folder fail, or ends the process there.
 *
 * Calls are counted by kind: opening a file to write, writing, renaming, flushing, locking. At the
 * chosen call of the chosen kind it does what was armed; every other call goes through.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { OPEN, WRITE, RENAME, FSYNC, FLOCK, KINDS };

/* What happens instead of the call; a number above 0 is an errno. */
enum what { KILL_BEFORE = -1, KILL_AFTER = -2, TERMINATE = -3, SHORT = -4 };

static char folder[PATH_MAX];
static size_t folder_length;
static long counts[KINDS];
static int armed_kind = -1, armed_what, armed_onwards;
static long armed_at;

/* Watch a folder from now on, and arm one fault: what happens at the call `at` of a kind, and with
 * `onwards` at every later one. With kind -1 calls are only counted. */
void fault_arm(const char *below, int kind, long at, int what, int onwards) {
    folder_length = strlen(below);
    memcpy(folder, below, folder_length + 1);
    memset(counts, 0, sizeof counts);
    armed_kind = kind;
    armed_at = at;
    armed_what = what;
    armed_onwards = onwards;
}

long fault_count(int kind) { return counts[kind]; }

static int is_below(const char *path) {
    return folder_length && path[0] == '/' && !strncmp(path, folder, folder_length);
}

static int path_is_watched(int at, const char *path) {
    char link[64], whole[2 * PATH_MAX];
    ssize_t n;
    if (!folder_length) return 0;
    if (path[0] == '/') return is_below(path);
    snprintf(link, sizeof link, at == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", at);
    n = readlink(link, whole, PATH_MAX - 1);
    if (n < 0) return 0;
    snprintf(whole + n, PATH_MAX, "/%s", path);
    return is_below(whole);
}

static int handle_is_watched(int handle) {
    char link[64], path[PATH_MAX];
    ssize_t n;
    if (!folder_length) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", handle);
    n = readlink(link, path, sizeof path - 1);
    if (n < 0) return 0;
    path[n] = 0;
    return is_below(path);
}

/* What shall happen at this call: 0 for nothing. */
static int fate(int kind) {
    long n = ++counts[kind];
    if (kind != armed_kind || n < armed_at || (n > armed_at && !armed_onwards)) return 0;
    if (armed_what == KILL_BEFORE) kill(getpid(), SIGKILL);
    if (armed_what == TERMINATE) kill(getpid(), SIGTERM);
    return armed_what == TERMINATE ? 0 : armed_what;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define FAIL_OR_CALL(watched, kind, call)                      \
    int what = (watched) ? fate(kind) : 0;                     \
    if (what > 0) { errno = what; return -1; }                 \
    __typeof__(call) result = call;                            \
    if (what == KILL_AFTER) kill(getpid(), SIGKILL);           \
    return result

#define OPENING(flags) ((flags) & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC | O_APPEND))

static mode_t mode_of(int flags, va_list more) {
    return flags & (O_CREAT | __O_TMPFILE) ? va_arg(more, mode_t) : 0;
}

#define DEFINE_OPEN(name)                                                                  \
    int name(const char *path, int flags, ...) {                                           \
        va_list more;                                                                      \
        va_start(more, flags);                                                             \
        mode_t mode = mode_of(flags, more);                                                \
        va_end(more);                                                                      \
        FAIL_OR_CALL(OPENING(flags) && path_is_watched(AT_FDCWD, path), OPEN,              \
                     REAL(name)(path, flags, mode));                                       \
    }
DEFINE_OPEN(open)
DEFINE_OPEN(open64)

#define DEFINE_OPENAT(name)                                                                \
    int name(int at, const char *path, int flags, ...) {                                   \
        va_list more;                                                                      \
        va_start(more, flags);                                                             \
        mode_t mode = mode_of(flags, more);                                                \
        va_end(more);                                                                      \
        FAIL_OR_CALL(OPENING(flags) && path_is_watched(at, path), OPEN,                    \
                     REAL(name)(at, path, flags, mode));                                   \
    }
DEFINE_OPENAT(openat)
DEFINE_OPENAT(openat64)

/* Half of what shall be written is, before a kill or of a short write. */
ssize_t write(int handle, const void *data, size_t n) {
    int what = handle_is_watched(handle) ? fate(WRITE) : 0;
    if (what > 0) { errno = what; return -1; }
    ssize_t result = REAL(write)(handle, data, what < 0 && n > 1 ? n / 2 : n);
    if (what == KILL_AFTER) kill(getpid(), SIGKILL);
    return result;
}

ssize_t pwrite64(int handle, const void *data, size_t n, off64_t offset) {
    FAIL_OR_CALL(handle_is_watched(handle), WRITE, REAL(pwrite64)(handle, data, n, offset));
}

ssize_t writev(int handle, const struct iovec *parts, int n) {
    FAIL_OR_CALL(handle_is_watched(handle), WRITE, REAL(writev)(handle, parts, n));
}

ssize_t sendfile64(int to, int from, off64_t *offset, size_t n) {
    FAIL_OR_CALL(handle_is_watched(to), WRITE, REAL(sendfile64)(to, from, offset, n));
}

int rename(const char *old, const char *new) {
    FAIL_OR_CALL(path_is_watched(AT_FDCWD, new), RENAME, REAL(rename)(old, new));
}

int renameat(int from, const char *old, int to, const char *new) {
    FAIL_OR_CALL(path_is_watched(to, new), RENAME, REAL(renameat)(from, old, to, new));
}

int fsync(int handle) {
    FAIL_OR_CALL(handle_is_watched(handle), FSYNC, REAL(fsync)(handle));
}

int fdatasync(int handle) {
    FAIL_OR_CALL(handle_is_watched(handle), FSYNC, REAL(fdatasync)(handle));
}

int flock(int handle, int how) {
    FAIL_OR_CALL(handle_is_watched(handle), FLOCK, REAL(flock)(handle, how));
}
