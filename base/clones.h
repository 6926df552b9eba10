/*
 * clones.h - one plain loop, compiled for several instruction sets and picked at run time.
 *
 * Put BL_CLONES in front of a function whose loops the compiler vectorises. Every clone must give
 * the same bits: the code inside uses exact or correctly rounded operations in a fixed order only.
 * Where the loader cannot pick (not x86-64, not glibc) and under sanitizers, which clash with the
 * resolver, it is nothing, and the plain function remains.
 */
#ifndef BL_BASE_CLONES_H
#define BL_BASE_CLONES_H

#include <stdint.h> /* defines __GLIBC__ where it is */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define BL_HAS_SANITIZER
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||                         \
    __has_feature(memory_sanitizer)
#define BL_HAS_SANITIZER
#endif
#endif

#if defined(__x86_64__) && defined(__GLIBC__) && !defined(__clang__) && !defined(BL_HAS_SANITIZER)
#define BL_CLONES __attribute__((target_clones("default", "avx2", "arch=x86-64-v4")))
#else
#define BL_CLONES
#endif

#endif
