/* An address of the kernel. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    buddymalloc_free((void *)0xffff888000000000);
    return 0;
}
