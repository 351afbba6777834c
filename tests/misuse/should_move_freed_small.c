/* Whether a slot had better move, after it was freed. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    void *block = buddymalloc_malloc(64);

    buddymalloc_free(block);
    return buddymalloc_should_move(block) != 0;
}
