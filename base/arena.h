/*
 * arena.h - memory that lives and dies with one opened file: names, tables, metadata.
 *
 * One owner, one release; nothing is freed singly. Not thread-safe while it grows.
 */
#ifndef BL_BASE_ARENA_H
#define BL_BASE_ARENA_H

#include <stddef.h>

struct bl_arena_block;

typedef struct bl_arena {
    struct bl_arena_block *block; /* the one that is filled; each links to the next */
} bl_arena;                       /* zero-initialise */

void *bl_arena_alloc(bl_arena *arena, size_t n, size_t size); /* zeroed, 16-byte aligned; or NULL */
char *bl_arena_strndup(bl_arena *arena, const char *s, size_t n);
char *bl_arena_strdup(bl_arena *arena, const char *s);
char *bl_arena_format(bl_arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void bl_arena_release(bl_arena *arena);

#endif
