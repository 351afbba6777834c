/* An address in the page of NULL. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    buddymalloc_free((void *)0x10);
    return 0;
}
