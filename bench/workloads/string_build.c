/*
 * string_build: what scripts do with text. Records are put together from fields, each
 * concatenation a new string that replaces the shorter one; a table keeps the last 4096 records,
 * and each is split into fields again, that live only for that moment.
 *
 * Follows the programs gawk and perl that Detlefs, Dosser and Zorn trace in "Memory Allocation
 * Costs in Large C and C++ Programs" (1994): mostly strings, mostly short-lived.
 *
 *     string_build RECORDS
 */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    table_records = 4096,
    fields_min = 3,
    fields_max = 12,
    field_bytes_max = 40,
};

static char *table[table_records];

static char *field_create(uint64_t *random)
{
    size_t length = bench_random_between(random, 1, field_bytes_max);
    char *field = bench_malloc(length + 1);
    memset(field, 'a' + (int)(length % 26), length);
    field[length] = '\0';
    return field;
}

/* A new string of both and a comma; the first is freed, the second is the caller's. */
static char *concatenate(char *text, const char *field)
{
    size_t text_length = strlen(text);
    size_t field_length = strlen(field);
    char *joined = bench_malloc(text_length + field_length + 2);
    memcpy(joined, text, text_length);
    memcpy(joined + text_length, field, field_length);
    strcpy(joined + text_length + field_length, ",");
    free(text);
    return joined;
}

static char *record_create(uint64_t *random)
{
    char *record = field_create(random);
    size_t fields = bench_random_between(random, fields_min, fields_max);
    for (size_t i = 0; i < fields; i++) {
        char *field = field_create(random);
        record = concatenate(record, field);
        free(field);
    }
    return record;
}

/* Splits a record into strings of their own and checks each: it is one letter repeated. */
static size_t record_check(const char *record)
{
    char *fields[fields_max + 1];
    size_t count = 0;
    for (const char *end; (end = strchr(record, ',')) != NULL; record = end + 1) {
        size_t length = (size_t)(end - record);
        fields[count] = bench_malloc(length + 1);
        memcpy(fields[count], record, length);
        fields[count][length] = '\0';
        count++;
    }
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(fields[i]);
        if (i > 0 && fields[i][0] != 'a' + (int)(length % 26))
            bench_fail("string_build: a field was overwritten");
        bytes += length;
        free(fields[i]);
    }
    return bytes;
}

int main(int argc, char **argv)
{
    if (argc != 2)
        bench_fail("usage: string_build RECORDS");
    size_t records = bench_parse_count(argv[1], "string_build: RECORDS must be positive");
    uint64_t random = 77;
    size_t bytes = 0;
    for (size_t i = 0; i < records; i++) {
        char **place = &table[bench_random_between(&random, 0, table_records)];
        if (*place != NULL)
            bytes += record_check(*place);
        free(*place);
        *place = record_create(&random);
    }
    printf("bytes=%zu\n", bytes);
    return 0;
}
