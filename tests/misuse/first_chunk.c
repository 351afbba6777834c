/* An address in the lowest 4 MiB. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    buddymalloc_free((void *)0x200000);
    return 0;
}
