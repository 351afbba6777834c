/* An address that the processor can't have. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    buddymalloc_free((void *)0x8000000000000000);
    return 0;
}
