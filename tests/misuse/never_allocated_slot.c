/* A slot that was never handed out. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    char *block = buddymalloc_malloc(64);

    buddymalloc_free(block + 64);
    return 0;
}
