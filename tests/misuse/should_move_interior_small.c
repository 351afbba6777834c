/* Whether an address inside a slot had better move. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    char *block = buddymalloc_malloc(64);

    return buddymalloc_should_move(block + 16) != 0;
}
