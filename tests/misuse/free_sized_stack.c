/* An array on the stack, by free_sized. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    char array[64] = {0};

    buddymalloc_free_sized(array, sizeof array);
    return array[1];
}
