/* The address of a function. */
#include <buddymalloc/buddymalloc.h>
#include <stdint.h>

int main(void)
{
    buddymalloc_free((void *)(uintptr_t)main);
    return 0;
}
