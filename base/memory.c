/* memory.c - see memory.h: /proc and malloc of Linux and glibc. */
#include "base/memory.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

uint64_t bl_memory_resident(void)
{
    char text[128] = { 0 }, *end = text;
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    unsigned long long pages = 0;

    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return 0;
    (void)strtoull(text, &end, 10); /* the virtual size; then the resident one */
    pages = strtoull(end, NULL, 10);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

uint64_t bl_memory_peak(void)
{
    struct rusage usage;

    return getrusage(RUSAGE_SELF, &usage) == 0 ? (uint64_t)usage.ru_maxrss * 1024 : 0;
}

void bl_memory_return_freed(void)
{
#ifdef __GLIBC__
    (void)mallopt(M_MMAP_THRESHOLD, 1 << 20);
    (void)mallopt(M_TRIM_THRESHOLD, 4 << 20);
    (void)mallopt(M_ARENA_MAX, 1);
#endif
}
