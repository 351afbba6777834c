"""scaling: what an operation costs as the live set, the threads and the blocks grow.

Called by comparison.py for `tools/bench --scaling`, which runs the workloads made here, by turns
like all others, and hands the measurements back for the report. See bench/README.md.
"""

from dataclasses import dataclass

import callgrind
from modules import numpy, stats
from report import METRICS, Comparison, conditions, failures_section, table, workloads_section
from workload_table import ALLOC_TEST, LARSON, Workload

LIVE_SETS = "live sets"
TREE = "tree"

KIB_PER_MIB = 1024
LIVE_MIB = (1, 10, 100, 1024, 4096)
STEPS = 4_000_000
THREAD_COUNTS = (1, 2, 4, 8, 16, 32, 64)
THREADS_BASE = 2

CPU, WALL = METRICS[0], METRICS[1]

# The same work whatever the number of threads: they share out 32 million steps, each with a live
# set of its own that fits a core's cache, or taking turns on a core would make the cache better the
# more threads there are. In larson it's 320 threads of 60 000 steps in all, N of them at a time;
# each has 1000 objects of 8 to 1000 bytes, about half a MiB.
LIVE_KIB_EACH = 1024
SHARED_STEPS = 32_000_000
LARSON_THREADS = 320
LARSON_STEPS = 60_000


@dataclass(frozen=True)
class Throughput:
    """A workload that is run with 1 to 64 threads."""

    name: str
    file: str
    source: str
    arguments: str

    def command(self, threads):
        return self.arguments.format(
            threads=threads, live_kib=LIVE_KIB_EACH, steps=SHARED_STEPS // threads,
            generations=LARSON_THREADS // threads, larson_steps=LARSON_STEPS).split()


THROUGHPUTS = (
    Throughput("random_lifetimes", "throughput-random.svg", ALLOC_TEST,
               "{live_kib} {steps} {threads}"),
    Throughput("larson", "throughput-larson.svg", LARSON, "{threads} {generations} {larson_steps}"),
)
GROUPS = (LIVE_SETS, *(one.name for one in THROUGHPUTS), TREE)


def size_text(mebibytes):
    return f"{mebibytes // 1024}G" if mebibytes >= 1024 else f"{mebibytes}M"


def live_name(mebibytes, is_filled_only=False):
    return f"live-{size_text(mebibytes)}" + ("-filled" if is_filled_only else "")


def scaling_workloads(programs):
    """All that is run; each live set also with a single step, for what filling it costs."""
    workloads = []
    for mebibytes in LIVE_MIB:
        for is_filled_only in (True, False):
            steps = 1 if is_filled_only else STEPS
            workloads.append(Workload(
                live_name(mebibytes, is_filled_only), LIVE_SETS, 1,
                (str(programs / "random_lifetimes"), str(mebibytes * KIB_PER_MIB), str(steps), "1"),
                ALLOC_TEST))
    for one in THROUGHPUTS:
        workloads += [Workload(f"{one.name}-{threads}", one.name, threads,
                               (str(programs / one.name), *one.command(threads)), one.source)
                      for threads in THREAD_COUNTS]
    return workloads


def with_companions(names):
    """The names of workloads, and of those without which they have no figure: the other run of a
    live set, and the run with THREADS_BASE threads."""
    wanted = set(names)
    for mebibytes in LIVE_MIB:
        both = {live_name(mebibytes), live_name(mebibytes, True)}
        if wanted & both:
            wanted |= both
    for one in THROUGHPUTS:
        if any(f"{one.name}-{threads}" in wanted for threads in THREAD_COUNTS):
            wanted.add(f"{one.name}-{THREADS_BASE}")
    return wanted


def count_tree(programs):
    """{pattern: {function: [instructions by order]}} of the buddy tree, or why there is none."""
    try:
        return {"failure": None,
                "patterns": {pattern: callgrind.count_tree_calls(programs / "tree_calls", pattern)
                             for pattern in callgrind.TREE_PATTERNS}}
    except (callgrind.CallgrindError, FileNotFoundError) as error:
        return {"failure": str(error), "patterns": {}}


class Scaling(Comparison):
    """The figures as arrays [point, allocator]; NaN stands for a failed cell."""

    def __init__(self, measured, ours):
        super().__init__(measured, ours)
        self.tree = measured["tree"]

    def row_medians(self, metric, name):
        """The medians of a workload's cells, or None when it wasn't run."""
        return self.medians(metric)[self.names.index(name)] if name in self.names else None

    def live_sets(self):
        """The live sets in MiB, and for each the CPU time of a step in ns: of the run with all
        steps what goes beyond the one that only fills and empties it."""
        points, rows = [], []
        for mebibytes in LIVE_MIB:
            whole = self.row_medians(CPU, live_name(mebibytes))
            filled = self.row_medians(CPU, live_name(mebibytes, True))
            if whole is None or filled is None:
                continue
            points.append(mebibytes)
            rows.append((whole - filled) * 1e6 / STEPS)
        return points, numpy.array(rows)

    def throughput(self, workload):
        """The numbers of threads, and for each the throughput over that with THREADS_BASE."""
        base = self.row_medians(WALL, f"{workload.name}-{THREADS_BASE}")
        points = [threads for threads in THREAD_COUNTS
                  if base is not None and f"{workload.name}-{threads}" in self.names]
        return points, numpy.array([base / self.row_medians(WALL, f"{workload.name}-{threads}")
                                    for threads in points])

    def tree_lines(self):
        """[(pattern, function, instructions by order, the line fitted to them)]."""
        lines = []
        for pattern, functions in self.tree["patterns"].items():
            for function, counts in functions.items():
                lines.append((pattern, function, counts,
                              stats.linregress(callgrind.TREE_ORDERS, counts)))
        return lines


def as_text(values, decimals):
    return ["**failed**" if numpy.isnan(one) else f"{one:.{decimals}f}" for one in values]


def live_set_section(scaling):
    points, values = scaling.live_sets()
    if not points:
        return []
    rows = [[size_text(mebibytes), *as_text(row, 1)] for mebibytes, row in zip(points, values)]
    return ["## Time of a step by live set", "",
            "CPU time in ns for one object freed and another allocated and written, in a heap of "
            "skewed sizes (random_lifetimes, one thread); filling and emptying the heap is left "
            "out. Much of the rise is the processor's caches and TLB, which all share.", "",
            "![](live-sets.svg)", "", *table(["live set", *scaling.allocators], rows), ""]


def throughput_section(scaling, workload):
    points, values = scaling.throughput(workload)
    if not points:
        return []
    rows = []
    for threads, ratios in zip(points, values):
        wall, cpu = (as_text(scaling.row_medians(metric, f"{workload.name}-{threads}"), 0)
                     for metric in (WALL, CPU))
        cells = zip(as_text(ratios, 2), wall, cpu)
        rows.append([str(threads), *(f"{ratio} ({on_wall} / {on_cpu})"
                                     for ratio, on_wall, on_cpu in cells)])
    return [f"## Throughput of {workload.name} by threads", "",
            f"The same work shared out to more threads: throughput over the allocator's own with "
            f"{THREADS_BASE} threads, in wall time; in parentheses wall and CPU time in ms. More "
            "is better. Where CPU time stays and wall time grows, the threads waited, for one "
            "another or for other programs.", "",
            f"![]({workload.file})", "", *table(["threads", *scaling.allocators], rows), ""]


def tree_section(scaling):
    if not scaling.tree["patterns"] and not scaling.tree["failure"]:
        return []
    lines = ["## The buddy tree by order", ""]
    if scaling.tree["failure"]:
        return lines + [f"**failed**: {scaling.tree['failure']}", ""]
    fitted = scaling.tree_lines()
    rows = [[str(order), *(str(counts[order]) for _, _, counts, _ in fitted)]
            for order in callgrind.TREE_ORDERS]
    rows.append(["slope", *(f"{line.slope:.1f}" for *_, line in fitted)])
    rows.append(["r²", *(f"{line.rvalue ** 2:.3f}" for *_, line in fitted)])
    return lines + ["Instructions of one call in a tree of order 10. `split` starts from one free "
                    "block as large as the tree and merges back to it, `fit` from a free block of "
                    "the order itself. Below, the line that fits best.", "", "![](tree.svg)", "",
                    *table(["order", *(f"{function}, {pattern}"
                                       for pattern, function, *_ in fitted)], rows), ""]


def as_markdown(scaling):
    lines = ["# Cost as work grows", "", conditions(scaling.measured), ""]
    lines += failures_section(scaling.failures) + live_set_section(scaling)
    for workload in THROUGHPUTS:
        lines += throughput_section(scaling, workload)
    return "\n".join(lines + tree_section(scaling) + workloads_section(scaling.measured)) + "\n"


def figures(scaling):
    """The derived figures, for scaling.json: {title: {point: {allocator: figure}}}."""
    series = {"ns_per_step": scaling.live_sets()}
    series.update((f"throughput_{one.name}", scaling.throughput(one)) for one in THROUGHPUTS)
    return {title: {point: {name: None if numpy.isnan(figure) else round(float(figure), 3)
                            for name, figure in zip(scaling.allocators, row)}
                    for point, row in zip(points, values)}
            for title, (points, values) in series.items()}
