/* A program in C without a C++ runtime, that calls operator new by its name in the library: there
 * is memory, or the end. The argument: how many bytes. */
#include <stdlib.h>

#ifdef __LP64__
#define operator_new _Znwm
#else
#define operator_new _Znwj
#endif

void *operator_new(size_t size);
void _ZdlPv(void *block);

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    _ZdlPv(operator_new(100));
    _ZdlPv(operator_new(strtoull(argv[1], NULL, 0)));
    return 0;
}
