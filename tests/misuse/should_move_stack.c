/* Whether an array on the stack had better move. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    char array[64] = {0};

    return buddymalloc_should_move(array) != 0;
}
