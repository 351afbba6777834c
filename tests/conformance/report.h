/* report: what mallinfo2, malloc_info and malloc_stats say at one moment, as numbers. */
#ifndef BUDDYMALLOC_TESTS_CONFORMANCE_REPORT_H
#define BUDDYMALLOC_TESTS_CONFORMANCE_REPORT_H

#include <buddymalloc/buddymalloc.h>
#include <stddef.h>

enum { report_arenas_max = 128 };

/* By malloc_info. */
struct report_xml {
    size_t arenas;
    size_t free_slots; /* "fast" */
    size_t free_slot_bytes;
    size_t free_runs; /* "rest" */
    size_t free_run_bytes;
    size_t held_bytes;  /* "system" */
    size_t used_bytes;  /* "in-use" */
    size_t huge_blocks; /* "mmap" */
    size_t huge_bytes;
    size_t reserved_bytes;
};

struct report_share {
    size_t held_bytes;
    size_t used_bytes;
};

/* By malloc_stats. */
struct report_stats {
    size_t arenas;
    struct report_share of_arena[report_arenas_max];
    struct report_share total; /* with huge blocks */
    size_t huge_blocks;
    size_t huge_bytes;
    size_t reserved_bytes;
    size_t purgeable_bytes;
};

struct report {
    struct buddymalloc_info info;
    struct report_xml xml;
    struct report_stats stats;
};

/* What malloc_info writes; to be freed by the C library's free. */
char *take_malloc_info(void);

/* Asks all three. The test fails where one of them doesn't say what is expected of it. They are of
 * one moment if no other thread allocates or frees: nothing is allocated in between by this one. */
void take_report(struct report *report);

/* The test fails unless the three agree in all that more than one of them says. */
void check_agreement(const struct report *report);

#endif
