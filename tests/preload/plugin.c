/* A plugin that takes its memory from the prefixed library. */
#include <buddymalloc/buddymalloc.h>

#include <string.h>

/* Frees the blocks that the last call kept, which is maybe one of the last time that the plugin was
 * loaded, and keeps new ones of all kinds: a slot, a page block, a huge block. */
void plugin_use(void *kept[3]);

void plugin_use(void *kept[3])
{
    static const size_t sizes[3] = {100, 100 * 1024, 5 * 1024 * 1024};

    for (unsigned index = 0; index < 3; index++) {
        void *block = buddymalloc_malloc(sizes[index]);
        if (block != NULL)
            memset(block, 1, sizes[index]);
        buddymalloc_free(kept[index]);
        kept[index] = block;
    }
}
