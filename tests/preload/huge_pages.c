/* huge_pages on|off: whether a large heap of small blocks lies in memory that was advised to have
 * huge pages ("hg" in proc(5)'s smaps), as BUDDYMALLOC_CONF says. Blocks of megabytes never do: of
 * two huge pages such a block would touch a part of one. */
#include "check.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
    block_bytes = 1000,
    block_count = 80000,
    large_bytes = 1500000,
    large_count = 40,
    skipped = 77
};

static void *blocks[block_count];
static void *large[large_count];

static bool has_advised_memory(void)
{
    char line[512];
    bool is_advised = false;
    FILE *smaps = fopen("/proc/self/smaps", "r");
    check(smaps != NULL);
    while (fgets(line, sizeof line, smaps) != NULL)
        if (strncmp(line, "VmFlags:", 8) == 0 && strstr(line, " hg") != NULL)
            is_advised = true;
    (void)fclose(smaps);
    return is_advised;
}

int main(int argc, char **argv)
{
    check(argc == 2);
    if (access("/sys/kernel/mm/transparent_hugepage/enabled", F_OK) != 0)
        return skipped;
    for (size_t index = 0; index < large_count; index++) {
        large[index] = malloc(large_bytes);
        check(large[index] != NULL);
    }
    check(!has_advised_memory());
    for (size_t index = 0; index < large_count; index++)
        free(large[index]);
    for (size_t index = 0; index < block_count; index++) {
        blocks[index] = malloc(block_bytes);
        check(blocks[index] != NULL);
    }
    check(has_advised_memory() == (strcmp(argv[1], "on") == 0));
    for (size_t index = 0; index < block_count; index++)
        free(blocks[index]);
    return 0;
}
