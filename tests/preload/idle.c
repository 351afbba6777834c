/* A program that does little; it says whether it runs with more rights than its caller. */
#include "bundle.h"

#include <stdio.h>
#include <sys/auxv.h>

int main(void)
{
    bundle_try();
    return printf("secure %lu\n", getauxval(AT_SECURE)) > 0 ? 0 : 1;
}
