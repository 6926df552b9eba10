/*
 * memory.h - what the process holds, in bytes; 0 where the system does not say.
 */
#ifndef BL_BASE_MEMORY_H
#define BL_BASE_MEMORY_H

#include <stdint.h>

uint64_t bl_memory_resident(void); /* of this process, now */
uint64_t bl_memory_peak(void);     /* of this process, at most so far */

/*
 * Blocks above 1 MiB that are freed go back to the system at once, and no arena is kept for each
 * thread, so that the resident size follows what is allocated. For programs that promise a size;
 * call it once, before threads start.
 */
void bl_memory_return_freed(void);

#endif
