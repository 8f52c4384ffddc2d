/* Preloaded into a server: makes calls on its database fail while a file says so.
 *
 * FAULTY_DISK names that file. It holds names of calls, each with an errno, e.g. "fsync 5" (EIO)
 * or "pwrite 28 pread 5" (ENOSPC, EIO). One with 0 is held up for as long as the file says so. Without
 * the file, and for all other files, calls are passed on. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int is_database(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0) return 0;
    path[size] = 0;
    return strstr(path, "/landline.db") != NULL;
}

/* Returns the errno that `call` on `fd` shall fail with, 0 if it shall be held up, or NONE. */
enum { NONE = -1, HOLD_MICROSECONDS = 10000 };

static int order_for(const char *call, int fd) {
    const char *control = getenv("FAULTY_DISK");
    int file = control ? open(control, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return NONE;
    char order[128] = {0}, name[32], *rest = order;
    ssize_t size = read(file, order, sizeof order - 1);
    close(file);
    if (size <= 0) return NONE;
    int number = 0, length = 0;
    for (; sscanf(rest, "%31s %d%n", name, &number, &length) == 2; rest += length)
        if (strcmp(name, call) == 0) return is_database(fd) ? number : NONE;
    return NONE;
}

/* Returns the errno that `call` on `fd` shall fail with, or 0, once nothing holds it up any more. */
static int fault(const char *call, int fd) {
    int number;
    while ((number = order_for(call, fd)) == 0) usleep(HOLD_MICROSECONDS);
    return number == NONE ? 0 : number;
}

#define PASS_ON(result, name, call, declared, given)                   \
    result name declared {                                             \
        static result(*real) declared;                                 \
        if (!real) real = (result(*) declared)dlsym(RTLD_NEXT, #name); \
        int number = fault(call, fd);                                  \
        if (!number) return real given;                                \
        errno = number;                                                \
        return -1;                                                     \
    }

PASS_ON(ssize_t, pwrite, "pwrite", (int fd, const void *data, size_t size, off_t offset),
        (fd, data, size, offset))
PASS_ON(ssize_t, pwrite64, "pwrite", (int fd, const void *data, size_t size, off64_t offset),
        (fd, data, size, offset))
PASS_ON(ssize_t, pread, "pread", (int fd, void *data, size_t size, off_t offset),
        (fd, data, size, offset))
PASS_ON(ssize_t, pread64, "pread", (int fd, void *data, size_t size, off64_t offset),
        (fd, data, size, offset))
PASS_ON(int, fsync, "fsync", (int fd), (fd))
PASS_ON(int, fdatasync, "fsync", (int fd), (fd))
PASS_ON(int, ftruncate, "ftruncate", (int fd, off_t size), (fd, size))
PASS_ON(int, ftruncate64, "ftruncate", (int fd, off64_t size), (fd, size))
