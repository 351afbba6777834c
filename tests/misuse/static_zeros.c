/* Static data that is zero. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    static char zeros[16 * 1024 * 1024] __attribute__((aligned(4096)));

    buddymalloc_free(zeros + 8 * 1024 * 1024);
    return 0;
}
