/*
 * What is reserved and not committed must cost nothing: it may not be written to, and the system
 * doesn't count it as memory that it has promised ("ac" in proc(5), smaps). So it fits where
 * vm.overcommit_memory is 2, and under RLIMIT_DATA. For the mmap backend alone: the break has
 * nothing that is only reserved.
 */
#include "check.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define MIB ((size_t)1 << 20)

struct mapping {
    uintptr_t start;
    uintptr_t end;
    char access[5];
    bool is_accounted;
};

/* Reads on to the end of a mapping's lines; false: there is none. */
static bool read_mapping(FILE *smaps, struct mapping *mapping)
{
    char line[1024];
    while (fgets(line, sizeof line, smaps) != NULL) {
        struct mapping found;
        if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %4s", &found.start, &found.end, found.access) ==
            3)
            *mapping = found;
        if (strncmp(line, "VmFlags:", strlen("VmFlags:")) == 0) {
            mapping->is_accounted = strstr(line, " ac") != NULL;
            return true;
        }
    }
    return false;
}

/* The mapping of an address. */
static struct mapping find_mapping(uintptr_t address)
{
    struct mapping mapping;
    FILE *smaps = fopen("/proc/self/smaps", "re");
    check(smaps != NULL);
    bool is_found = false;
    while (!is_found && read_mapping(smaps, &mapping))
        is_found = mapping.start <= address && address < mapping.end;
    check(is_found);
    (void)fclose(smaps);
    return mapping;
}

/* The first region has 64 MiB, and a small heap uses the first chunk. */
static void check_that_the_rest_is_free_of_charge(const void *block)
{
    struct mapping committed = find_mapping((uintptr_t)block);
    struct mapping reserved = find_mapping(committed.end);
    check(strcmp(committed.access, "rw-p") == 0);
    check(committed.end - committed.start <= 8 * MIB);
    check(strcmp(reserved.access, "---p") == 0);
    check(!reserved.is_accounted);
    check(reserved.end - reserved.start >= 48 * MIB);
}

/* A limit below what is reserved: nothing of that counts. */
static void check_limit_of_data(void)
{
    struct rlimit limit = {40 * MIB, 40 * MIB};
    check(setrlimit(RLIMIT_DATA, &limit) == 0);
    char *large = malloc(20 * MIB);
    check(large != NULL);
    memset(large, 1, 20 * MIB);
    check(malloc(40 * MIB) == NULL);
    free(large);
}

int main(void)
{
    char *small = malloc(100);
    check(small != NULL);
    check_that_the_rest_is_free_of_charge(small);
    check_limit_of_data();
    return 0;
}
