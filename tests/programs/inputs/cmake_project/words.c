#include "count.h"

#include <stdio.h>

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        printf("%s %u\n", argv[i], count_letters(argv[i]));
    return 0;
}
