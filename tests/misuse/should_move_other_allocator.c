/* Whether a block of the C library's had better move. */
#include <buddymalloc/buddymalloc.h>
#include <stdlib.h>

int main(void)
{
    void *block = malloc(64);

    return buddymalloc_should_move(block) != 0;
}
