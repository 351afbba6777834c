/* Initialised static data. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    static char data[64] __attribute__((aligned(16))) = "data";

    buddymalloc_free(data);
    return 0;
}
