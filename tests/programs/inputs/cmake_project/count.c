#include "count.h"

unsigned count_letters(const char *word)
{
    unsigned letters = 0;
    while (word[letters] != '\0')
        letters++;
    return letters;
}
