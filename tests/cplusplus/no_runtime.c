/* A program in C without a C++ runtime, that calls operator new by its name in the library: there
 * is memory, or the end. */
#include <stdint.h>
#include <stdlib.h>

#ifdef __LP64__
#define operator_new _Znwm
#else
#define operator_new _Znwj
#endif

void *operator_new(size_t size);
void _ZdlPv(void *block);

int main(void)
{
    _ZdlPv(operator_new(100));
    _ZdlPv(operator_new(SIZE_MAX / 2 - 4096));
    return 0;
}
