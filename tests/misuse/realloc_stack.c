/* An array on the stack resized. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    char array[64] = {0};
    void *block = buddymalloc_realloc(array, 128);

    return block == array;
}
