/* Knows nothing of buddymalloc, and doesn't even call malloc by itself: getline(3) does. How it is
 * linked decides whose malloc that is. Counts the bytes of the longest line of its input. */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>

int main(void)
{
    char *line = NULL;
    size_t capacity = 0;
    ssize_t longest = 0, length;
    while ((length = getline(&line, &capacity, stdin)) >= 0)
        longest = length > longest ? length : longest;
    (void)printf("%zd\n", longest);
    return 0;
}
