#!/usr/bin/env python3
"""figures: measures the figures buddymalloc has to reach, and says which it does.

Called by tools/figures, which builds the library and the workloads. Every run is a process of its
own with one allocator preloaded; what is compared is always measured in the same, interleaved run.
See bench/README.md for what each figure means.
"""

import argparse
import json
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

import callgrind
from allocators import (OURS, REFERENCE, AllocatorError, add_options, choose_allocators,
                        fingerprints, require_unchanged)
from launch import RunError, end_by_signals, run_interleaved
from machine import machine

SIZES = (16, 32, 48, 64, 100, 128, 256, 512, 1024)
PATTERNS = ("pairs", "phases")
CALLS_COUNTED = 512

MALLOC_INSTRUCTIONS_MAX = 22
FREE_INSTRUCTIONS_MAX = 36
LIVE_HEAP_RATIO_MAX = 1.00
IDLE_EXCESS_KIB_MAX = 300
THREAD_CHURN_RATIO_MAX = 1.30
THREAD_CHURN_GROWTH_MAX = 1.10  # "flat", with room for the order in which threads end
TRIM_SHARE_MAX = 0.05
LOOP_RATIO_MAX = 1.00
# The loops are held against the fastest of these.
LOOP_PEERS = ("glibc", "jemalloc", "mimalloc", "tcmalloc")


@dataclass
class Row:
    """One line of the table. passed is None for what has no limit; values: by allocator."""

    figure: str
    limit: str
    measured: str
    passed: object
    values: dict = field(default_factory=dict)
    unit: str = ""
    note: str = ""


class Bench:
    """What all figures need: where the programs are, who is measured, how often."""

    def __init__(self, build, allocators, rounds):
        self.build = build
        self.allocators = allocators
        self.rounds = rounds

    def program(self, name):
        return self.build / name

    def progress(self, text):
        if sys.stderr.isatty():
            sys.stderr.write(f"\r\033[K{text}")
            sys.stderr.flush()

    def run(self, command, rounds=None, at_exit=False):
        return run_interleaved(self.build, self.allocators, command, rounds or self.rounds,
                               self.progress, at_exit)


def medians(results, value):
    """{allocator: median of value(round)}; who failed has no entry. And what failed, as a note."""
    numbers = {}
    failures = []
    for name, rounds in results.items():
        if isinstance(rounds, RunError):
            failures.append(str(rounds))
        else:
            numbers[name] = median(value(one) for one in rounds)
    return numbers, "; ".join(failures)


def judged(figure, limit, text, measured, passed, values, unit, note=""):
    """A row with a limit. measured is None where ours wasn't measured: that is no pass."""
    if measured is None:
        return Row(figure, limit, "failed" if note else "-", False, values, unit, note)
    return Row(figure, limit, text, passed, values, unit, note)


def ratio_row(figure, limit_max, values, unit, reference_names, limit, note=""):
    """A row for ours over the lowest of the reference allocators."""
    references = {name: values[name] for name in reference_names if values.get(name)}
    if OURS not in values or not references:
        return judged(figure, limit, "", None, False, values, unit, note)
    best = min(references, key=references.get)
    ratio = values[OURS] / references[best]
    text = f"{ratio:.3f} x {best}"
    return judged(figure, limit, text, ratio, ratio <= limit_max, values, unit, note)


def without_limit(row):
    """The same row, which can't be missed but by a crash of ours."""
    row.limit = "(none)"
    if OURS in row.values:
        row.passed = None
    return row


def measure_hit_path(bench):
    """Instructions of malloc and free on the hit path; the worse of the two patterns."""
    rows = []
    for size in SIZES:
        counted = {}
        failures = []
        for allocator in bench.allocators:
            bench.progress(f"hit path, {size} bytes, {allocator.name}")
            try:
                counted[allocator.name] = {
                    pattern: callgrind.count_hit_path(bench.program("hit_path"),
                                                      allocator.library, pattern, size,
                                                      CALLS_COUNTED)
                    for pattern in PATTERNS}
            except callgrind.CallgrindError as error:
                failures.append(f"{allocator.name}: {error}")
        for function, limit in (("malloc", MALLOC_INSTRUCTIONS_MAX),
                                ("free", FREE_INSTRUCTIONS_MAX)):
            rows.append(hit_path_row(function, size, limit, counted, "; ".join(failures)))
    return rows


def hit_path_row(function, size, limit, counted, note):
    values = {name: max(by_pattern[pattern][function].hit for pattern in PATTERNS)
              for name, by_pattern in counted.items()}
    ours = counted.get(OURS)
    text = ""
    if ours is not None:
        means = "/".join(f"{ours[pattern][function].mean:.1f}" for pattern in PATTERNS)
        shares = "/".join(f"{ours[pattern][function].hit_share:.0%}" for pattern in PATTERNS)
        text = f"{values[OURS]} (mean {means}, hits {shares})"
    hit = values.get(OURS)
    return judged(f"{function}({size}) instructions", f"<= {limit}", text, hit,
                  hit is not None and hit <= limit, values, "instructions", note)


def measure_live_heap(bench):
    rows = []
    for churn in ([], [100]):
        results = bench.run([bench.program("live_heap"), *churn], rounds=min(bench.rounds, 3))
        values, note = medians(results, lambda one: one["peak_rss_kib"] / 1024)
        row = ratio_row("live heap, peak RSS" + (", all objects replaced" if churn else ""),
                        LIVE_HEAP_RATIO_MAX, values, "MiB", (REFERENCE,), "<= 1.00 x glibc", note)
        rows.append(without_limit(row) if churn else row)
    return rows


def measure_idle(bench):
    rows = []
    for command in (["/bin/true"], ["/bin/ls", "/"]):
        results = bench.run(command, rounds=max(bench.rounds, 7), at_exit=True)
        values, note = medians(results, lambda one: one["exit_rss_kib"])
        excess = None
        if OURS in values and REFERENCE in values:
            excess = values[OURS] - values[REFERENCE]
        rows.append(judged(f"idle {Path(command[0]).name}, RSS over glibc's",
                           f"<= {IDLE_EXCESS_KIB_MAX} KiB", f"{excess or 0:+.0f} KiB", excess,
                           excess is not None and excess <= IDLE_EXCESS_KIB_MAX, values, "KiB",
                           note))
    return rows


def thread_churn_growth(one):
    """How much RSS between batches grew in a run: the last three samples over the first three."""
    samples = [value for name, value in one.items() if name.startswith("threads_")]
    return median(samples[-3:]) / median(samples[:3])


def measure_thread_churn(bench):
    results = bench.run([bench.program("thread_churn")])
    values, note = medians(results, lambda one: one["peak_rss_kib"] / 1024)
    growth, _ = medians(results, thread_churn_growth)
    ours = growth.get(OURS)
    return [
        ratio_row("10 000 threads, peak RSS", THREAD_CHURN_RATIO_MAX, values, "MiB", (REFERENCE,),
                  f"<= {THREAD_CHURN_RATIO_MAX:.2f} x glibc", note),
        judged("10 000 threads, RSS at the end over the start", f"<= {THREAD_CHURN_GROWTH_MAX:.2f}",
               f"{ours or 0:.3f}", ours,
               ours is not None and ours <= THREAD_CHURN_GROWTH_MAX, growth, "x", note),
    ]


def measure_trim(bench):
    results = bench.run([bench.program("trim")], rounds=1)
    values, note = medians(results, lambda one: one["trimmed_rss_kib"] / one["live_rss_kib"])
    share = values.get(OURS)
    percent = {name: value * 100 for name, value in values.items()}
    return [judged("trim from another thread, RSS left", f"< {TRIM_SHARE_MAX:.0%}",
                   f"{share or 0:.2%}", share, share is not None and share < TRIM_SHARE_MAX,
                   percent, "%", note)]


def measure_loop(bench, figure, command):
    results = bench.run(command)
    values, note = medians(results, lambda one: one["cpu_ns_per_pair"])
    return ratio_row(figure, LOOP_RATIO_MAX, values, "ns", LOOP_PEERS, "<= the fastest", note)


def measure_page_block(bench):
    return [measure_loop(bench, f"page block loop, {kib} KiB, CPU time",
                         [bench.program("page_block_loop"), kib * 1024, 1000000])
            for kib in (64, 256, 1024)]


def measure_huge_block(bench):
    return [measure_loop(bench, f"huge block loop, 8 MiB, {text}, CPU time",
                         [bench.program("huge_block_loop"), mode, count])
            for mode, count, text in (("first", 100000, "touched once before"),
                                      ("byte", 100000, "a byte each time"),
                                      ("pages", 200, "every page each time"))]


def measure_remote(bench):
    """No limit yet: the hand-over between threads, as ratio to the best peer."""
    rows = []
    for pairs, objects in ((1, 2000000), (4, 500000)):
        results = bench.run([bench.program("remote"), pairs, objects])
        for figure, value, unit in (
                ("CPU time", lambda one: one["cpu_ns_per_object"], "ns"),
                ("real time", lambda one: one["wall_ns_per_object"], "ns"),
                ("peak RSS", lambda one: one["peak_rss_kib"] / 1024, "MiB")):
            values, note = medians(results, value)
            row = ratio_row(f"hand-over, {2 * pairs} threads, {figure}", 1, values, unit,
                            [name for name in values if name != OURS], "", note)
            rows.append(without_limit(row))
    return rows


FIGURES = {
    "hit_path": measure_hit_path,
    "live_heap": measure_live_heap,
    "idle": measure_idle,
    "thread_churn": measure_thread_churn,
    "trim": measure_trim,
    "page_block": measure_page_block,
    "huge_block": measure_huge_block,
    "remote": measure_remote,
}


def verdict(row):
    if row.passed is None:
        return ""
    return "pass" if row.passed else "MISS"


def print_table(rows, allocators):
    others = [allocator.name for allocator in allocators if allocator.name != OURS]
    header = ["figure", "limit", "measured", "result", "unit", OURS, *others]
    table = [header]
    for row in rows:
        table.append([row.figure, row.limit, row.measured, verdict(row), row.unit,
                      *(f"{row.values[name]:.5g}" if name in row.values else "-"
                        for name in (OURS, *others))])
    widths = [max(len(line[column]) for line in table) for column in range(len(header))]
    for number, line in enumerate(table):
        cells = (cell.ljust(width) for cell, width in zip(line, widths))
        print("| " + " | ".join(cells) + " |")
        if number == 0:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")
    for row in rows:
        if row.note:
            print(f"\n{row.figure}: {row.note}")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=Path, required=True,
                        help="the build directory with src/ and bench/")
    add_options(parser)
    parser.add_argument("--only", action="append", choices=FIGURES, metavar="NAME",
                        help=f"one of {', '.join(FIGURES)}; may be repeated")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of a timed run (7)")
    parser.add_argument("--output", type=Path, help="the JSON report (BUILD/figures.json)")
    arguments = parser.parse_args()
    if arguments.rounds < 1:
        parser.error("--rounds must be at least 1")
    return parser, arguments


def main():
    end_by_signals()
    parser, arguments = parse_arguments()
    if arguments.check_arguments:
        return 0
    programs = (arguments.build / "bench").resolve()
    if not (programs / "measure").is_file():
        parser.error(f"no workloads in {programs}")
    try:
        bench = Bench(programs, choose_allocators(arguments, programs), arguments.rounds)
    except AllocatorError as error:
        parser.error(str(error))
    libraries = fingerprints(bench.allocators)
    rows = []
    for name in arguments.only or FIGURES:
        rows += FIGURES[name](bench)
    bench.progress("")
    require_unchanged(bench.allocators, libraries)
    if arguments.peers_only:
        for row in rows:
            row.passed = None
    print_table(rows, bench.allocators)

    output = arguments.output or arguments.build / "figures.json"
    report = {"machine": machine(), "rounds": arguments.rounds,
              "allocators": {one.name: one.library for one in bench.allocators},
              "sha256": libraries,
              "figures": [asdict(row) for row in rows]}
    output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    if arguments.peers_only:
        return 0
    missed = sum(row.passed is False for row in rows)
    passed = sum(row.passed is True for row in rows)
    print(f"\n{passed} figures reached, {missed} missed; {output}")
    return 1 if missed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except FileNotFoundError as error:
        sys.exit(f"figures: {error.filename} is missing")
    except AllocatorError as error:
        sys.exit(f"figures: {error}")
