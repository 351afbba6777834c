/* Whether a page block had better move, after it was freed. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    void *block = buddymalloc_malloc(100 * 1024);

    buddymalloc_free(block);
    return buddymalloc_should_move(block) != 0;
}
