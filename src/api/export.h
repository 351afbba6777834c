/*
 * export: which symbols leave the library. Everything is built with hidden visibility; what the
 * public header declares is exported, and in the override library the standard's own name is
 * an alias of it: the same address, no jump.
 */
#ifndef BM_API_EXPORT_H
#define BM_API_EXPORT_H

#include "buddymalloc/buddymalloc.h"

#define BM_PUBLIC __attribute__((visibility("default")))

#if BM_OVERRIDE
#define BM_OVERRIDES(name) \
    extern __typeof(buddymalloc_##name) name BM_PUBLIC __attribute__((alias("buddymalloc_" #name)))
#else
#define BM_OVERRIDES(name) _Static_assert(1, "")
#endif

#endif
