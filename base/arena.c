/*
 * arena.c - a chain of blocks: of 64 KiB for small pieces, of its own size for each large one.
 */
#include "base/arena.h"

#include "base/alloc.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { BLOCK_BYTES = 64 << 10, ALIGN = 16 };

struct bl_arena_block {
    struct bl_arena_block *before;
    size_t used, size;
    _Alignas(ALIGN) unsigned char bytes[];
};

/* A new block: the one to fill from now on or, when it is made for one large piece, behind that. */
static struct bl_arena_block *add_block(bl_arena *arena, size_t bytes)
{
    bool large = bytes > BLOCK_BYTES / 4;
    size_t room = large ? bytes : BLOCK_BYTES;
    struct bl_arena_block *b = bl_calloc(1, sizeof(*b) + room);

    if (!b)
        return NULL;
    b->size = room;
    if (large && arena->block) {
        b->before = arena->block->before;
        arena->block->before = b;
    } else {
        b->before = arena->block;
        arena->block = b;
    }
    return b;
}

void *bl_arena_alloc(bl_arena *arena, size_t n, size_t size)
{
    struct bl_arena_block *b = arena->block;
    size_t bytes;
    void *p;

    if (__builtin_mul_overflow(n, size, &bytes) || bytes > PTRDIFF_MAX / 2)
        return NULL;
    bytes = (bytes + ALIGN - 1) / ALIGN * ALIGN;
    if (!b || b->size - b->used < bytes)
        b = add_block(arena, bytes);
    if (!b)
        return NULL;
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
