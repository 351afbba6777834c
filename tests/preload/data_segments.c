/* Whoever looks for pointers, as a conservative garbage collector does, reads the data of all
 * libraries: all of it can be read, also when malloc(0) has handed out what can't. */
#include "bundle.h"
#include "check.h"

#include <elf.h>
#include <link.h>
#include <stdlib.h>

static size_t words;

static int read_data(struct dl_phdr_info *object, size_t bytes, void *sum)
{
    (void)bytes;
    for (size_t number = 0; number < object->dlpi_phnum; number++) {
        const ElfW(Phdr) *segment = &object->dlpi_phdr[number];
        if (segment->p_type != PT_LOAD || (segment->p_flags & PF_W) == 0)
            continue;
        const char *start = (const char *)object->dlpi_addr + segment->p_vaddr;
        for (size_t offset = 0; offset < segment->p_memsz; offset += sizeof(long)) {
            *(volatile unsigned char *)sum += *(const volatile unsigned char *)(start + offset);
            words++;
        }
    }
    return 0;
}

int main(void)
{
    volatile size_t no_bytes = 0;
    unsigned char sum = 0;
    bundle_try();
    void *empty = malloc(no_bytes);
    check(empty != NULL);
    check(dl_iterate_phdr(read_data, &sum) == 0);
    check(words > 1000);
    free(empty);
    return 0;
}
