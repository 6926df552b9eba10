/*
 * bln_name.h - which names a .bln may hold. Reader and writer ask the same questions, so that
 * nothing is written that cannot be read. Internal to formats/bln.
 */
#ifndef BL_FORMATS_BLN_NAME_H
#define BL_FORMATS_BLN_NAME_H

#include <stddef.h>
#include <stdint.h>

/* What is wrong with a name, for "'x' ...": NULL when nothing is. */

/* Of a tensor: UTF-8 without control characters, not empty. */
const char *bl_bln_tensor_name_fault(const char *name, size_t n);

/* Of a file: the same, and it cannot leave its folder. */
const char *bl_bln_file_name_fault(const char *name, size_t n);

/* "x.bln" and part 7: "x.bln.007", to be freed; NULL when out of memory. */
char *bl_bln_part_name(const char *path, uint32_t part);

#endif
