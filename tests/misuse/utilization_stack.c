/* The figures of an array on the stack. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    char array[64] = {0};
    struct buddymalloc_usage figures;

    return buddymalloc_utilization(array, &figures);
}
