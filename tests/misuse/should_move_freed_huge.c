/* Whether a huge block had better move, after it was freed. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    void *block = buddymalloc_malloc(8 * 1024 * 1024);

    buddymalloc_free(block);
    return buddymalloc_should_move(block) != 0;
}
