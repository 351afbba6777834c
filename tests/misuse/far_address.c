/* An address where nothing is mapped. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    buddymalloc_free((void *)0x123456789000);
    return 0;
}
