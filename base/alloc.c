/*
 * alloc.c - malloc with checked sizes and a countdown for tests. The counters are atomic and
 * relaxed: they order nothing.
 */
#include "base/alloc.h"

#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

static atomic_ullong n_calls;
static atomic_ullong failing_call; /* value of n_calls at which to fail; 0 = never */
static atomic_llong n_live;

/* n * size, at least 1; false when no object can be that large. */
static bool block_bytes(size_t *out, size_t n, size_t size)
{
    if (__builtin_mul_overflow(n, size, out) || *out > PTRDIFF_MAX)
        return false;
    if (*out == 0)
        *out = 1;
    return true;
}

/* Count one call; false when the test hook wants this one to fail. */
static bool may_allocate(void)
{
    unsigned long long call = atomic_fetch_add_explicit(&n_calls, 1, memory_order_relaxed) + 1;

    return call != atomic_load_explicit(&failing_call, memory_order_relaxed);
}

static void *counted(void *p)
{
    if (p)
        atomic_fetch_add_explicit(&n_live, 1, memory_order_relaxed);
    return p;
}

void *bl_alloc(size_t n, size_t size)
{
    size_t bytes;

    if (!block_bytes(&bytes, n, size) || !may_allocate())
        return NULL;
    return counted(malloc(bytes));
}

void *bl_calloc(size_t n, size_t size)
{
    size_t bytes;

    if (!block_bytes(&bytes, n, size) || !may_allocate())
        return NULL;
    return counted(calloc(1, bytes));
}

void *bl_realloc(void *p, size_t n, size_t size)
{
    size_t bytes;
    void *grown;

    if (!block_bytes(&bytes, n, size) || !may_allocate())
        return NULL;
    grown = realloc(p, bytes);
    return p ? grown : counted(grown);
}

void bl_free(void *p)
{
    if (!p)
        return;
    atomic_fetch_sub_explicit(&n_live, 1, memory_order_relaxed);
    free(p);
}

char *bl_strndup(const char *s, size_t n)
{
    char *copy = n < SIZE_MAX ? bl_alloc(n + 1, 1) : NULL;

    if (!copy)
        return NULL;
    memcpy(copy, s, n);
    copy[n] = '\0';
    return copy;
}

char *bl_strdup(const char *s)
{
    return bl_strndup(s, strlen(s));
}

char *bl_format(const char *format, ...)
{
    va_list args;
    char *text;
    int n;

    va_start(args, format);
    n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    text = n < 0 ? NULL : bl_alloc((size_t)n + 1, 1);
    if (!text)
        return NULL;
    va_start(args, format);
    vsnprintf(text, (size_t)n + 1, format, args);
    va_end(args);
    return text;
}

void bl_alloc_fail_at(uint64_t k)
{
    unsigned long long now = atomic_load(&n_calls);

    atomic_store(&failing_call, k ? now + k : 0);
}

uint64_t bl_alloc_count(void)
{
    return atomic_load(&n_calls);
}

int64_t bl_alloc_live(void)
{
    return atomic_load(&n_live);
}

void bl_alloc_keep(void)
{
#ifdef __GLIBC__
    mallopt(M_MMAP_MAX, 0); /* large blocks too come from the heap */
    mallopt(M_TRIM_THRESHOLD, INT_MAX);
    mallopt(M_TOP_PAD, 64 << 20);
#endif
}
