/*
 * alloc.h - all heap memory of the program passes here.
 *
 * Sizes are multiplied with a check, and tests can make the k-th allocation fail. Memory that
 * libraries allocate (cJSON, PCRE2) is routed here by their one door where they allow it.
 * Thread-safe. Results are aligned as malloc's; a zero size gives a valid pointer.
 */
#ifndef BL_BASE_ALLOC_H
#define BL_BASE_ALLOC_H

#include <stddef.h>
#include <stdint.h>

void *bl_alloc(size_t n, size_t size);  /* n objects of size bytes, not initialised; or NULL */
void *bl_calloc(size_t n, size_t size); /* the same, zeroed; or NULL */
void *bl_realloc(void *p, size_t n, size_t size); /* p stays valid on NULL */
void bl_free(void *p);

char *bl_strdup(const char *s);
char *bl_strndup(const char *s, size_t n); /* exactly n bytes and a NUL */
char *bl_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

/*
 * Freed memory stays with the process, for loops that take the same large blocks again and again: else
 * each is mapped and zeroed anew. Where the C library has no such choice it is nothing.
 */
void bl_alloc_keep(void);

/* For tests: let the k-th allocation from now on fail (1 = the next; 0 = none). */
void bl_alloc_fail_at(uint64_t k);
uint64_t bl_alloc_count(void); /* allocations so far */
int64_t bl_alloc_live(void);   /* blocks allocated and not yet freed */

#endif
