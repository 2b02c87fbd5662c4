/* What the system does to the program under test, for as long as a file says so: loaded before libc (LD_PRELOAD),
 * ordered about by files in the folder that PURGEHOOK_SURROUNDINGS names.
 *
 *   sync        how many milliseconds each fsync takes, such as 0.15
 *   read-only   files cannot be written to at a place (as databases are), cut, or opened for writing
 *   name-HOST   "again" or "none": the name has no addresses; a number: they take so many milliseconds
 *
 * Names that end in .test are this machine's.
 *
 * PURGEHOOK_CLOCK_AHEAD says by how many seconds the machine's clock is ahead.
 *
 * A file `counts` of as many zeros as there are bytes in them is where the program's counts are kept: numbers of
 * 64 bits, in the order of `enum count`.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* libc's own, looked up once in each place that calls it. */
#define REAL(name)                                                                                 \
    ({                                                                                             \
        static __typeof__(&name) found;                                                            \
        found ? found : (found = (__typeof__(&name))dlsym(RTLD_NEXT, #name));                      \
    })

/* What an order says, in `text`; 0 if there is no such order. */
static int ordered(const char *name, char text[32]) {
    const char *folder = getenv("PURGEHOOK_SURROUNDINGS");
    char path[512];
    if (!folder || snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path)
        return 0;
    int file = REAL(open)(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return 0;
    ssize_t length = read(file, text, 31);
    close(file);
    text[length > 0 ? length : 0] = 0;
    return 1;
}

/* SQLite names its temporary files etilqs_* (its page "Temporary Files Used By SQLite"). */
enum count { FSYNCS, BYTES_WRITTEN, TEMPORARY_FILES, COUNTS };

static _Atomic uint64_t *counts;

__attribute__((constructor)) static void find_counts(void) {
    const char *folder = getenv("PURGEHOOK_SURROUNDINGS");
    char path[512];
    if (!folder || snprintf(path, sizeof path, "%s/counts", folder) >= (int)sizeof path)
        return;
    int file = REAL(open)(path, O_RDWR | O_CLOEXEC);
    if (file < 0)
        return;
    void *mapped = mmap(0, COUNTS * 8, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (mapped != MAP_FAILED)
        counts = mapped;
}

static void count(enum count what, uint64_t how_many) {
    if (counts)
        atomic_fetch_add(&counts[what], how_many);
}

static time_t clock_ahead;

__attribute__((constructor)) static void find_clock(void) {
    const char *ahead = getenv("PURGEHOOK_CLOCK_AHEAD");
    clock_ahead = ahead ? atol(ahead) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    int failed = REAL(clock_gettime)(clock, time);
    if (!failed && clock == CLOCK_REALTIME)
        time->tv_sec += clock_ahead;
    return failed;
}

static void wait_ms(double ms) {
    struct timespec left = {ms / 1000, (long)(ms * 1000000) % 1000000000};
    while (nanosleep(&left, &left) && errno == EINTR)
        ;
}

static void wait_as_ordered(void) {
    char text[32];
    if (ordered("sync", text))
        wait_ms(atof(text));
}

int fsync(int file) {
    count(FSYNCS, 1);
    wait_as_ordered();
    return REAL(fsync)(file);
}

int fdatasync(int file) {
    count(FSYNCS, 1);
    wait_as_ordered();
    return REAL(fdatasync)(file);
}

/* How long an order that every write asks for is remembered: looking each time would cost more than the write. */
#define REMEMBERED_NS 1000000

static int refused(void) {
    static _Atomic int64_t looked_at;
    static _Atomic int is_ordered;
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    int64_t now = time.tv_sec * 1000000000LL + time.tv_nsec;
    if (now - looked_at > REMEMBERED_NS) {
        char text[32];
        is_ordered = ordered("read-only", text);
        looked_at = now;
    }
    if (is_ordered)
        errno = EROFS;
    return is_ordered;
}

ssize_t pwrite64(int file, const void *bytes, size_t length, off64_t at) {
    count(BYTES_WRITTEN, length);
    return refused() ? -1 : REAL(pwrite64)(file, bytes, length, at);
}

int ftruncate64(int file, off64_t length) {
    return refused() ? -1 : REAL(ftruncate64)(file, length);
}

/* As open(2), whose third argument is there only where a file may be made. */
#define OPENS(name)                                                                                \
    int name(const char *path, int flags, ...) {                                                   \
        mode_t mode = 0;                                                                           \
        if (flags & (O_CREAT | O_TMPFILE)) {                                                       \
            va_list more;                                                                          \
            va_start(more, flags);                                                                 \
            mode = va_arg(more, mode_t);                                                           \
            va_end(more);                                                                          \
        }                                                                                          \
        if ((flags & O_ACCMODE) != O_RDONLY && refused())                                          \
            return -1;                                                                             \
        if (strstr(path, "etilqs_"))                                                               \
            count(TEMPORARY_FILES, 1);                                                             \
        return REAL(name)(path, flags, mode);                                                      \
    }

OPENS(open)
OPENS(open64)

int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                struct addrinfo **found) {
    char order[300], text[32];
    if (host && snprintf(order, sizeof order, "name-%s", host) < (int)sizeof order &&
        ordered(order, text)) {
        if (!strncmp(text, "again", 5))
            return EAI_AGAIN;
        if (!strncmp(text, "none", 4))
            return EAI_NONAME;
        wait_ms(atol(text));
    }
    size_t length = host ? strlen(host) : 0;
    if (length > 5 && !strcmp(host + length - 5, ".test"))
        host = "127.0.0.1";
    return REAL(getaddrinfo)(host, service, hints, found);
}
