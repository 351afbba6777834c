/*
 * introspect: the entry points that show or steer the whole heap: mallinfo(3), malloc_stats(3),
 * malloc_info(3), malloc_trim(3), mallopt(3). Contracts: buddymalloc/buddymalloc.h.
 */
#include "api/introspect.h"

#include "api/arenas.h"
#include "api/export.h"
#include "api/options.h"
#include "api/system_memory.h"
#include "api/thread_arena.h"
#include "api/trim.h"
#include "api/user_block.h"
#include "base/message.h"
#include "base/text_file.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* ---- figures ---- */

struct heap_stats {
    size_t arenas;
    struct bm_arena_stats sum;
    struct bm_system_stats system;
};

static void add_arena(struct bm_arena *arena, void *context)
{
    struct heap_stats *stats = context;
    stats->arenas++;
    bm_arena_count(arena, &stats->sum);
}

static void count_heap(struct heap_stats *stats)
{
    *stats = (struct heap_stats){0};
    bm_arenas_visit(add_arena, NULL, stats);
    bm_system_stats(&stats->system);
}

static size_t purgeable_bytes(const struct heap_stats *stats)
{
    return stats->sum.purgeable_bytes + stats->system.free_dirty_bytes + stats->system.kept_bytes;
}

BM_PUBLIC struct buddymalloc_info buddymalloc_mallinfo2(void)
{
    struct heap_stats stats;
    count_heap(&stats);
    return (struct buddymalloc_info){
        .arena = stats.sum.held_bytes,
        .ordblks = stats.sum.free_slots + stats.sum.free_runs,
        .hblks = stats.system.huge_blocks,
        .hblkhd = stats.system.huge_bytes,
        .uordblks = stats.sum.used_bytes,
        .fordblks = stats.sum.held_bytes - stats.sum.used_bytes,
        .keepcost = purgeable_bytes(&stats),
    };
}

/* ---- malloc_stats and the summary at exit ---- */

static void put_line(struct bm_message *message, const char *name, size_t value)
{
    static const char spaces[] = "                 ";
    size_t length = strlen(name);
    bm_message_text(message, name);
    bm_message_text(message, length < sizeof spaces ? spaces + length : "");
    bm_message_text(message, "= ");
    bm_message_decimal(message, value);
    bm_message_text(message, "\n");
}

struct stats_print {
    size_t arenas;
    struct bm_arena_stats sum;
    struct bm_message message; /* of the arena that was counted last */
};

static void describe_arena(struct bm_arena *arena, void *context)
{
    struct stats_print *print = context;
    struct bm_arena_stats before = print->sum;
    struct bm_message *message = &print->message;
    bm_arena_count(arena, &print->sum);
    bm_message_init(message);
    bm_message_text(message, "Arena ");
    bm_message_decimal(message, print->arenas++);
    bm_message_text(message, ":\n");
    put_line(message, "system bytes", print->sum.held_bytes - before.held_bytes);
    put_line(message, "in use bytes", print->sum.used_bytes - before.used_bytes);
}

/* Without the gate: who reads standard error may be slow. */
static void print_message(void *context)
{
    const struct stats_print *print = context;
    bm_message_write(&print->message, STDERR_FILENO);
}

BM_PUBLIC void buddymalloc_malloc_stats(void)
{
    struct stats_print print = {0};
    struct bm_system_stats system = {0};
    struct bm_message message;
    bm_arenas_visit(describe_arena, print_message, &print);
    bm_system_stats(&system);
    bm_message_init(&message);
    bm_message_text(&message, "Total (incl. huge blocks):\n");
    put_line(&message, "system bytes", print.sum.held_bytes + system.huge_bytes);
    put_line(&message, "in use bytes", print.sum.used_bytes + system.huge_bytes);
    put_line(&message, "huge blocks", system.huge_blocks);
    put_line(&message, "huge bytes", system.huge_bytes);
    put_line(&message, "reserved bytes", system.reserved_bytes);
    put_line(&message, "purgeable bytes",
             print.sum.purgeable_bytes + system.free_dirty_bytes + system.kept_bytes);
    bm_message_write(&message, STDERR_FILENO);
}

static void put_figure(struct bm_message *message, const char *before, size_t value,
                       const char *after)
{
    bm_message_text(message, before);
    bm_message_decimal(message, value);
    bm_message_text(message, after);
}

/* Of the whole process: its code, stacks and files are in it too. What getrusage(2) tells begins
 * with the peak of the program that executed this one; it is for where proc(5) says nothing, or so
 * much of the process's groups that this doesn't come to the end. */
static size_t peak_resident_bytes(void)
{
    static const char name[] = "\nVmHWM:";
    char status[4096];
    struct rusage usage;
    size_t kib = 0;
    bm_text_file_read("/proc/self/status", status, sizeof status);
    const char *peak = strstr(status, name);
    if (peak == NULL || strchr(peak + 1, '\n') == NULL)
        return getrusage(RUSAGE_SELF, &usage) == 0 ? (size_t)usage.ru_maxrss * 1024 : 0;
    peak += sizeof name - 1;
    peak += strspn(peak, " \t");
    for (; *peak >= '0' && *peak <= '9'; peak++)
        kib = kib * 10 + (size_t)(*peak - '0');
    return kib * 1024;
}

void bm_print_summary(int descriptor)
{
    struct heap_stats stats;
    struct bm_message message;
    count_heap(&stats);
    bm_message_init(&message);
    put_figure(&message, "buddymalloc summary of process ", (size_t)getpid(), ":\n");
    put_figure(&message, "  peak resident   ", peak_resident_bytes(), " bytes\n");
    put_figure(&message, "  in use at exit  ", stats.sum.used_bytes + stats.system.huge_bytes,
               " bytes");
    put_figure(&message, " (", stats.sum.page_blocks, " page blocks");
    put_figure(&message, ", ", stats.system.huge_blocks, " huge blocks)\n");
    put_figure(&message, "  arenas          ", stats.arenas, "");
    put_figure(&message, " with ", stats.sum.trees, " trees");
    put_figure(&message, " and ", stats.sum.slabs, " slabs\n");
    put_figure(&message, "  free in slabs   ", stats.sum.free_slot_bytes, " bytes\n");
    put_figure(&message, "  free in trees   ", stats.sum.free_run_bytes, " bytes\n");
    put_figure(&message, "  could go back   ",
               stats.sum.purgeable_bytes + stats.system.free_dirty_bytes + stats.system.kept_bytes,
               " bytes\n");
    put_figure(&message, "  address space   ", stats.system.reserved_bytes, " bytes\n");
    bm_message_write(&message, descriptor);
}

/* ---- malloc_info ---- */

struct xml {
    FILE *stream;
    bool failed;
};

static void print_xml(struct xml *xml, const struct bm_message *message)
{
    if (fwrite(message->text, 1, message->length, xml->stream) != message->length)
        xml->failed = true;
}

static void put_xml_figures(struct bm_message *message, const struct bm_arena_stats *stats)
{
    put_figure(message, "<total type=\"fast\" count=\"", stats->free_slots, "\"");
    put_figure(message, " size=\"", stats->free_slot_bytes, "\"/>\n");
    put_figure(message, "<total type=\"rest\" count=\"", stats->free_runs, "\"");
    put_figure(message, " size=\"", stats->free_run_bytes, "\"/>\n");
    put_figure(message, "<system type=\"current\" size=\"", stats->held_bytes, "\"/>\n");
    put_figure(message, "<in-use size=\"", stats->used_bytes, "\"/>\n");
}

BM_PUBLIC int buddymalloc_malloc_info(int options, FILE *stream)
{
    if (options != 0) {
        errno = EINVAL;
        return -1;
    }
    /* All is counted before the first write: stdio may allocate. */
    struct heap_stats stats;
    struct bm_message message;
    struct xml xml = {.stream = stream};
    count_heap(&stats);
    bm_message_init(&message);
    bm_message_text(&message, "<malloc version=\"1\">\n");
    put_figure(&message, "<arenas count=\"", stats.arenas, "\"/>\n");
    print_xml(&xml, &message);
    bm_message_init(&message);
    put_xml_figures(&message, &stats.sum);
    print_xml(&xml, &message);
    bm_message_init(&message);
    put_figure(&message, "<total type=\"mmap\" count=\"", stats.system.huge_blocks, "\"");
    put_figure(&message, " size=\"", stats.system.huge_bytes, "\"/>\n");
    put_figure(&message, "<reserved size=\"", stats.system.reserved_bytes, "\"/>\n</malloc>\n");
    print_xml(&xml, &message);
    return xml.failed ? -1 : 0;
}

/* ---- malloc_trim ---- */

BM_PUBLIC int buddymalloc_malloc_trim(size_t pad)
{
    int saved_errno = errno;
    struct heap_stats stats;
    if (pad != 0) {
        count_heap(&stats);
        if (purgeable_bytes(&stats) <= pad)
            return 0;
    }
    bm_user_drop_kept();
    bool went_back = bm_trim(pad);
    errno = saved_errno;
    return went_back;
}

/* ---- limit ---- */

BM_PUBLIC size_t buddymalloc_set_limit(size_t bytes)
{
    return bm_system_set_limit(bytes == 0 ? SIZE_MAX : bytes);
}

BM_PUBLIC size_t buddymalloc_held_bytes(void)
{
    return bm_system_held_bytes();
}

/* ---- check ---- */

BM_PUBLIC size_t buddymalloc_check_blocks(void)
{
    return bm_user_check_all();
}

/* ---- mallopt ---- */

/* Parameters of mallopt(3); <malloc.h> is not included because it declares what we define. */
enum {
    PARAMETER_MXFAST = 1,
    PARAMETER_TRIM_THRESHOLD = -1,
    PARAMETER_PERTURB = -6,
    PARAMETER_ARENA_MAX = -8,
};

BM_PUBLIC int buddymalloc_mallopt(int parameter, int value)
{
    bm_system_init();
    if (parameter == PARAMETER_PERTURB) {
        bm_options.perturb = BM_HARDENED ? 0 : (uint8_t)value;
        bm_thread_update_fast();
        return 1;
    }
    if (parameter == PARAMETER_MXFAST)
        return value >= 0 && value <= (int)(80 * sizeof(size_t) / 4);
    return parameter >= PARAMETER_ARENA_MAX && parameter <= PARAMETER_TRIM_THRESHOLD;
}

BM_PUBLIC size_t buddymalloc_malloc_usable_size(void *block)
{
    return block == NULL ? 0 : bm_user_bytes(block, "malloc_usable_size");
}

#if BM_OVERRIDE

/* mallinfo(3): the figures as ints; what does not fit is cut to INT_MAX, not wrapped. */
struct mallinfo {
    int arena, ordblks, smblks, hblks, hblkhd, usmblks, fsmblks, uordblks, fordblks, keepcost;
};

static int to_int(size_t value)
{
    return value > INT_MAX ? INT_MAX : (int)value;
}

BM_PUBLIC struct mallinfo mallinfo(void);
BM_PUBLIC struct mallinfo mallinfo(void)
{
    struct buddymalloc_info info = buddymalloc_mallinfo2();
    return (struct mallinfo){
        .arena = to_int(info.arena),
        .ordblks = to_int(info.ordblks),
        .hblks = to_int(info.hblks),
        .hblkhd = to_int(info.hblkhd),
        .uordblks = to_int(info.uordblks),
        .fordblks = to_int(info.fordblks),
        .keepcost = to_int(info.keepcost),
    };
}

#endif

/* struct buddymalloc_info is laid out as struct mallinfo2. */
BM_OVERRIDES(mallinfo2);
BM_OVERRIDES(malloc_stats);
BM_OVERRIDES(malloc_info);
BM_OVERRIDES(malloc_trim);
BM_OVERRIDES(mallopt);
BM_OVERRIDES(malloc_usable_size);
