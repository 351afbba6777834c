/* An address where nothing is mapped, in a program that has blocks. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    void *block = buddymalloc_malloc(64);

    buddymalloc_free((void *)0x123456789000);
    return block == NULL;
}
