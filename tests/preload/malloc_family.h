/*
 * malloc_family: every function of buddymalloc's that <malloc.h> declares, where the C library
 * has it. Others than glibc (musl) have some of them only. What they lack is declared here, and
 * weak: a program that is run with the library preloaded links without it.
 */
#ifndef BUDDYMALLOC_TESTS_PRELOAD_MALLOC_FAMILY_H
#define BUDDYMALLOC_TESTS_PRELOAD_MALLOC_FAMILY_H

#include <malloc.h>
#include <stdio.h>

#ifndef __GLIBC__

#define M_TRIM_THRESHOLD (-1)
#define M_PERTURB        (-6)

struct mallinfo2 {
    size_t arena, ordblks, smblks, hblks, hblkhd, usmblks, fsmblks, uordblks, fordblks, keepcost;
};

#pragma weak mallinfo2
#pragma weak malloc_info
#pragma weak malloc_stats
#pragma weak malloc_trim
#pragma weak mallopt
#pragma weak pvalloc

struct mallinfo2 mallinfo2(void);
int malloc_info(int options, FILE *stream);
void malloc_stats(void);
int malloc_trim(size_t pad);
int mallopt(int parameter, int value);
void *pvalloc(size_t size);

#endif

#endif
