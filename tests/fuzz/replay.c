/*
 * replay: runs a fuzz target on given inputs, without a fuzzer.
 *
 *     TARGET PATH...     files, and all files of directories; standard input if there is none
 *
 * What a fuzzer found is seen again in this way, and the kept corpus in the tests.
 */
#include "input.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MOST_BYTES = 1 << 20 };

static unsigned inputs;
static uint8_t data[MOST_BYTES];

static void die(const char *path)
{
    perror(path);
    exit(1);
}

static void run_stream(FILE *stream)
{
    size_t size = fread(data, 1, sizeof data, stream);
    (void)LLVMFuzzerTestOneInput(data, size);
    inputs++;
}

static void run_file(const char *path)
{
    FILE *stream = fopen(path, "rb");
    if (stream == NULL)
        die(path);
    /* So that the last path printed is that of an input that ends the program. */
    if (getenv("BUDDYMALLOC_FUZZ_VERBOSE") != NULL)
        fprintf(stderr, "%s\n", path);
    run_stream(stream);
    (void)fclose(stream);
}

static void run_directory(const char *path)
{
    struct dirent **entries;
    char name[4096];
    int count = scandir(path, &entries, NULL, alphasort);
    if (count < 0)
        die(path);
    for (int index = 0; index < count; index++) {
        (void)snprintf(name, sizeof name, "%s/%s", path, entries[index]->d_name);
        if (entries[index]->d_name[0] != '.')
            run_file(name);
        free(entries[index]);
    }
    free(entries);
}

static void run_path(const char *path)
{
    struct stat status;
    if (stat(path, &status) != 0)
        die(path);
    if (S_ISDIR(status.st_mode))
        run_directory(path);
    else
        run_file(path);
}

int main(int argc, char **argv)
{
    if (argc == 1)
        run_stream(stdin);
    for (int index = 1; index < argc; index++)
        run_path(argv[index]);
    printf("%u inputs\n", inputs);
    return inputs == 0;
}
