/* address: what is known of addresses on this machine. */
#ifndef BM_BASE_ADDRESS_H
#define BM_BASE_ADDRESS_H

#include <stdint.h>

/* The bits of a user address, unless a program asks mmap for more by a hint. */
#if UINTPTR_MAX == UINT32_MAX
#define BM_ADDRESS_BITS 32
#elif defined(__x86_64__)
#define BM_ADDRESS_BITS 47
#else
#define BM_ADDRESS_BITS 48
#endif

#endif
