/* Thread-local data. */
#include <buddymalloc/buddymalloc.h>

int main(void)
{
    static _Thread_local char data[64];

    buddymalloc_free(data);
    return 0;
}
