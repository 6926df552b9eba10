/* arena.c - a chain of blocks, each 64 KiB or as large as one request. */
#include "base/arena.h"

#include "base/alloc.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { BLOCK_BYTES = 64 << 10, ALIGN = 16 };

struct bl_arena_block {
    struct bl_arena_block *before;
    size_t used, size;
    _Alignas(ALIGN) unsigned char bytes[];
};

void *bl_arena_alloc(bl_arena *arena, size_t n, size_t size)
{
    struct bl_arena_block *b = arena->block;
    size_t bytes;
    void *p;

    if (__builtin_mul_overflow(n, size, &bytes) || bytes > SIZE_MAX / 2)
        return NULL;
    bytes = (bytes + ALIGN - 1) / ALIGN * ALIGN;
    if (!b || b->size - b->used < bytes) {
        size_t room = bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES;

        b = bl_calloc(1, sizeof(*b) + room);
        if (!b)
            return NULL;
        b->size = room;
        b->before = arena->block;
        arena->block = b;
    }
    p = b->bytes + b->used;
    b->used += bytes;
    return p;
}

char *bl_arena_strndup(bl_arena *arena, const char *s, size_t n)
{
    char *copy = n < SIZE_MAX ? bl_arena_alloc(arena, n + 1, 1) : NULL;

    if (copy)
        memcpy(copy, s, n);
    return copy;
}

char *bl_arena_strdup(bl_arena *arena, const char *s)
{
    return bl_arena_strndup(arena, s, strlen(s));
}

char *bl_arena_format(bl_arena *arena, const char *format, ...)
{
    va_list args;
    char *text;
    int n;

    va_start(args, format);
    n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    text = n < 0 ? NULL : bl_arena_alloc(arena, (size_t)n + 1, 1);
    if (!text)
        return NULL;
    va_start(args, format);
    vsnprintf(text, (size_t)n + 1, format, args);
    va_end(args);
    return text;
}

void bl_arena_release(bl_arena *arena)
{
    while (arena->block) {
        struct bl_arena_block *before = arena->block->before;

        bl_free(arena->block);
        arena->block = before;
    }
}
