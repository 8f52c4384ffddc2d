/* Preloaded into a server: makes calls on its database fail while a file says so.
 *
 * FAULTY_DISK names that file. It holds the name of a call and an errno, e.g. "fdatasync 5" (EIO)
 * or "pwrite 28" (ENOSPC). Without the file, and for all other files, calls are passed on. */

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

/* Returns the errno that `call` on `fd` shall fail with, or 0. */
static int fault(const char *call, int fd) {
    const char *control = getenv("FAULTY_DISK");
    int file = control ? open(control, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return 0;
    char order[64] = {0}, name[32];
    ssize_t size = read(file, order, sizeof order - 1);
    close(file);
    int number = 0;
    if (size <= 0 || sscanf(order, "%31s %d", name, &number) != 2) return 0;
    return strcmp(name, call) == 0 && is_database(fd) ? number : 0;
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
PASS_ON(int, fsync, "fsync", (int fd), (fd))
PASS_ON(int, fdatasync, "fsync", (int fd), (fd))
PASS_ON(int, ftruncate, "ftruncate", (int fd, off_t size), (fd, size))
PASS_ON(int, ftruncate64, "ftruncate", (int fd, off64_t size), (fd, size))
