/* Whether an address inside a page block had better move. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    char *block = buddymalloc_malloc(100 * 1024);

    return buddymalloc_should_move(block + 16) != 0;
}
