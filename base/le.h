/*
 * le.h - little-endian integers in bytes, at any place, on any machine.
 */
#ifndef BL_BASE_LE_H
#define BL_BASE_LE_H

#include <stdint.h>

static inline void bl_put_u16(unsigned char *bytes, uint16_t value)
{
    bytes[0] = (unsigned char)value;
    bytes[1] = (unsigned char)(value >> 8);
}

static inline uint16_t bl_get_u16(const unsigned char *bytes)
{
    return (uint16_t)(bytes[0] | bytes[1] << 8);
}

static inline void bl_put_u24(unsigned char *bytes, uint32_t value)
{
    bl_put_u16(bytes, (uint16_t)value);
    bytes[2] = (unsigned char)(value >> 16);
}

static inline uint32_t bl_get_u24(const unsigned char *bytes)
{
    return bl_get_u16(bytes) | (uint32_t)bytes[2] << 16;
}

static inline void bl_put_u32(unsigned char *bytes, uint32_t value)
{
    bl_put_u16(bytes, (uint16_t)value);
    bl_put_u16(bytes + 2, (uint16_t)(value >> 16));
}

static inline uint32_t bl_get_u32(const unsigned char *bytes)
{
    return bl_get_u16(bytes) | (uint32_t)bl_get_u16(bytes + 2) << 16;
}

static inline void bl_put_u64(unsigned char *bytes, uint64_t value)
{
    bl_put_u32(bytes, (uint32_t)value);
    bl_put_u32(bytes + 4, (uint32_t)(value >> 32));
}

static inline uint64_t bl_get_u64(const unsigned char *bytes)
{
    return bl_get_u32(bytes) | (uint64_t)bl_get_u32(bytes + 4) << 32;
}

#endif
