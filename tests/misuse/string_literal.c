/* A string literal. */
#include <buddymalloc/buddymalloc.h>
#include <stdint.h>

int main(void)
{
    buddymalloc_free((void *)(uintptr_t)"literal");
    return 0;
}
