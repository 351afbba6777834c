/* An array on the stack. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    char array[64] = {0};

    buddymalloc_free(array);
    return array[1];
}
