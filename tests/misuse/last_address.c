/* The highest address. */
#include <buddymalloc/buddymalloc.h>
#include <stdint.h>

int main(void)
{
    buddymalloc_free((void *)UINTPTR_MAX);
    return 0;
}
