#include "report.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { text_max = 65536 };

/* What stands behind a text that is there once. */
static const char *behind(const char *text, const char *what)
{
    const char *found = strstr(text, what);

    cr_assert_not_null(found, "no '%s' in: %s", what, text);
    cr_assert_null(strstr(found + 1, what), "'%s' twice in: %s", what, text);
    return found + strlen(what);
}

static size_t number_at(const char *text)
{
    char *end;
    size_t number = strtoul(text, &end, 10);

    cr_assert_neq(end, text, "no number: %s", text);
    return number;
}

/* ---- malloc_info ---- */

/* The attribute's value in `<element name="value" …/>`. */
static size_t attribute(const char *text, const char *element, const char *name)
{
    const char *start = behind(text, element);
    const char *found = strstr(start, name);

    cr_assert(found != NULL && found < strchr(start, '>'), "no '%s' of '%s': %s", name, element,
              text);
    return number_at(found + strlen(name));
}

char *take_malloc_info(void)
{
    char *text = NULL;
    size_t length = 0;
    FILE *stream = open_memstream(&text, &length);

    cr_assert_not_null(stream);
    cr_assert_eq(buddymalloc_malloc_info(0, stream), 0);
    cr_assert_eq(fclose(stream), 0);
    return text;
}

static void ask_malloc_info(struct report_xml *xml)
{
    char *text = take_malloc_info();

    *xml = (struct report_xml){
        .arenas = attribute(text, "<arenas", " count=\""),
        .free_slots = attribute(text, "<total type=\"fast\"", " count=\""),
        .free_slot_bytes = attribute(text, "<total type=\"fast\"", " size=\""),
        .free_runs = attribute(text, "<total type=\"rest\"", " count=\""),
        .free_run_bytes = attribute(text, "<total type=\"rest\"", " size=\""),
        .held_bytes = attribute(text, "<system type=\"current\"", " size=\""),
        .used_bytes = attribute(text, "<in-use", " size=\""),
        .huge_blocks = attribute(text, "<total type=\"mmap\"", " count=\""),
        .huge_bytes = attribute(text, "<total type=\"mmap\"", " size=\""),
        .reserved_bytes = attribute(text, "<reserved", " size=\""),
    };
    free(text);
}

/* ---- malloc_stats ---- */

/* Standard error is a file meanwhile. */
static void read_malloc_stats(char *text)
{
    FILE *file = tmpfile();
    int standard_error = dup(STDERR_FILENO);

    cr_assert_not_null(file);
    cr_assert_geq(standard_error, 0);
    cr_assert_geq(dup2(fileno(file), STDERR_FILENO), 0);
    buddymalloc_malloc_stats();
    cr_assert_geq(dup2(standard_error, STDERR_FILENO), 0);
    (void)close(standard_error);
    rewind(file);
    size_t length = fread(text, 1, text_max - 1, file);
    text[length] = '\0';
    (void)fclose(file);
}

/* The value in `name   = value`, a line of its own. */
static size_t line(const char *text, const char *name)
{
    const char *found = behind(text, name);

    found += strspn(found, " ");
    cr_assert_eq(strncmp(found, "= ", 2), 0, "%s", text);
    return number_at(found + 2);
}

static void ask_malloc_stats(struct report_stats *stats)
{
    static char text[text_max];
    const char *at = text;
    int length = 0;
    size_t number;
    struct report_share share;

    *stats = (struct report_stats){0};
    read_malloc_stats(text);
    while (sscanf(at, "Arena %zu: system bytes = %zu in use bytes = %zu %n", &number,
                  &share.held_bytes, &share.used_bytes, &length) == 3) {
        cr_assert_eq(number, stats->arenas, "%s", text);
        cr_assert_lt(number, (size_t)report_arenas_max);
        stats->of_arena[stats->arenas++] = share;
        at += length;
    }
    cr_assert_eq(strncmp(at, "Total", 5), 0, "%s", text);
    stats->total.held_bytes = line(at, "system bytes");
    stats->total.used_bytes = line(at, "in use bytes");
    stats->huge_blocks = line(at, "huge blocks ");
    stats->huge_bytes = line(at, "huge bytes");
    stats->reserved_bytes = line(at, "reserved bytes");
    stats->purgeable_bytes = line(at, "purgeable bytes");
}

/* ---- all of them ---- */

void take_report(struct report *report)
{
    report->info = buddymalloc_mallinfo2();
    ask_malloc_info(&report->xml);
    ask_malloc_stats(&report->stats);
}

void check_agreement(const struct report *report)
{
    const struct buddymalloc_info *info = &report->info;
    const struct report_xml *xml = &report->xml;
    const struct report_stats *stats = &report->stats;
    struct report_share sum = {0, 0};

    for (size_t i = 0; i < stats->arenas; i++) {
        sum.held_bytes += stats->of_arena[i].held_bytes;
        sum.used_bytes += stats->of_arena[i].used_bytes;
    }
    cr_assert_eq(xml->arenas, stats->arenas);
    cr_assert_eq(xml->held_bytes, info->arena);
    cr_assert_eq(xml->used_bytes, info->uordblks);
    cr_assert_eq(xml->free_slots + xml->free_runs, info->ordblks);
    cr_assert_eq(xml->huge_blocks, info->hblks);
    cr_assert_eq(xml->huge_bytes, info->hblkhd);
    cr_assert_eq(xml->reserved_bytes, stats->reserved_bytes);
    cr_assert_eq(sum.held_bytes, info->arena);
    cr_assert_eq(sum.used_bytes, info->uordblks);
    cr_assert_eq(stats->total.held_bytes, info->arena + info->hblkhd);
    cr_assert_eq(stats->total.used_bytes, info->uordblks + info->hblkhd);
    cr_assert_eq(stats->huge_blocks, info->hblks);
    cr_assert_eq(stats->huge_bytes, info->hblkhd);
    cr_assert_eq(stats->purgeable_bytes, info->keepcost);
    cr_assert_geq(info->arena, xml->used_bytes + xml->free_slot_bytes + xml->free_run_bytes);
    cr_assert_geq(xml->reserved_bytes, stats->total.held_bytes);
}
