#!/usr/bin/env python3
r"""instruction_counts: fails when a path of the allocator takes more instructions than it did.

golden.txt holds what callgrind counted when it was last updated; its first lines say which counts
there are. A count that rises by more than 1 % fails; one that falls by as much is reported, so
that the golden file can follow. It changes only in a commit that says why:

    bench/instruction_counts.py --hit-path … --tree-calls … --library … \
        --compiler … --update

Exit status: 0 no count has risen, 1 some have, 77 nothing can be said here (the reason is printed).
"""

import argparse
import shutil
import sys
from pathlib import Path

import callgrind

SIZES = (16, 32, 48, 64, 100, 128, 256, 512, 1024)
REALLOC_SIZES = (64, 1024)
REMOTE_SIZES = (64, 1024)
OPERATOR_SIZES = (16, 64, 1024)
CALLS_COUNTED = 512
RISE_MAX = 0.01
SKIPPED = 77
GOLDEN = Path(__file__).resolve().parent / "golden.txt"


def measure_slots(hit_path, library):
    """malloc and free of each size: the hit path, the mean, and what the slow calls add."""
    counts = {}
    for size in SIZES:
        pairs = callgrind.count_hit_path(hit_path, library, "pairs", size, CALLS_COUNTED)
        phases = callgrind.count_hit_path(hit_path, library, "phases", size, CALLS_COUNTED)
        for function, slow in (("malloc", "refill"), ("free", "flush")):
            hit, mean = pairs[function].hit, phases[function].mean
            counts[f"{function}_hit_{size}"] = float(hit)
            counts[f"{function}_mean_{size}"] = round(mean, 2)
            counts[f"{slow}_per_slot_{size}"] = round(mean - hit, 2)
    return counts


def measure_others(hit_path, library):
    """The hit paths of calloc and realloc, and of free by another thread."""
    cases = [("calloc", "calloc_hit", SIZES), ("stay", "realloc_stay_hit", REALLOC_SIZES),
             ("move", "realloc_move_hit", REALLOC_SIZES)]
    counts = {}
    for mode, name, sizes in cases:
        for size in sizes:
            calls = callgrind.count_hit_path(hit_path, library, mode, size, CALLS_COUNTED)
            counts[f"{name}_{size}"] = float(calls[mode if mode == "calloc" else "realloc"].hit)
    for size in REMOTE_SIZES:
        calls = callgrind.count_hit_path(hit_path, library, "remote", size, CALLS_COUNTED)
        counts[f"free_remote_hit_{size}"] = float(calls["free"].hit)
    return counts


def measure_operators(hit_path, library):
    """The hit paths of C++'s operators."""
    counts = {}
    for size in OPERATOR_SIZES:
        calls = callgrind.count_hit_path(hit_path, library, "operators", size, CALLS_COUNTED)
        for function in callgrind.MEASURED["operators"]:
            counts[f"operator_{function}_hit_{size}"] = float(calls[function].hit)
    return counts


def measure_tree(tree_calls):
    """The buddy tree's calls, by order."""
    counts = {}
    for pattern in callgrind.TREE_PATTERNS:
        for function, by_order in callgrind.count_tree_calls(tree_calls, pattern).items():
            for order, instructions in zip(callgrind.TREE_ORDERS, by_order):
                counts[f"tree_{function}_{pattern}_{order}"] = float(instructions)
    return counts


def measure(arguments):
    """{name: instructions} of everything the golden file holds."""
    return {**measure_slots(arguments.hit_path, arguments.library),
            **measure_others(arguments.hit_path, arguments.library),
            **measure_operators(arguments.hit_path, arguments.library),
            **measure_tree(arguments.tree_calls)}


def read_golden(path):
    """The compiler of a golden file, and its {name: instructions}."""
    compiler = None
    counts = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        words = line.split()
        if not words or words[0] == "#":
            continue
        if words[0] == "compiler":
            compiler = " ".join(words[1:])
        else:
            counts[words[0]] = float(words[1])
    return compiler, counts


def write_golden(path, compiler, counts):
    lines = ["# Instructions as callgrind counts them; see instruction_counts.py.",
             "# malloc_hit, free_hit: the most common count of malloc, free, malloc, free, ...",
             f"# malloc_mean, free_mean: over {CALLS_COUNTED} mallocs, then {CALLS_COUNTED} frees, "
             "refills and all.",
             "# refill_per_slot, flush_per_slot: the mean minus the hit, of malloc and of free.",
             "# calloc_hit: its clearing included. realloc_stay_hit: to the size the block has.",
             "# realloc_move_hit: to twice the size, the copy and the free included.",
             "# free_remote_hit: by a thread that allocates nothing.",
             "# operator_new_hit and its like: of C++'s operators; an alignment is 64.",
             "# tree_allocate, tree_release: the buddy tree's, by order. split: from one free",
             "# block of order 10, and back to it. fit: the last block, nothing to split or merge.",
             f"compiler {compiler}"]
    lines += [f"{name} {count:g}" for name, count in counts.items()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def compare(golden, counts):
    """Prints every count that changed by more than 1 %; returns how many rose or are missing."""
    failures = 0
    for name in sorted(golden.keys() | counts.keys()):
        if name not in golden or name not in counts:
            where = "golden file" if name not in golden else "measurement"
            print(f"{name}: not in the {where}")
            failures += 1
            continue
        before, now = golden[name], counts[name]
        rise_max = RISE_MAX * abs(before)
        if now > before + rise_max:
            print(f"{name}: {before:g} -> {now:g} instructions: risen")
            failures += 1
        elif now < before - rise_max:
            print(f"{name}: {before:g} -> {now:g} instructions: fallen; update golden.txt")
    return failures


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hit-path", type=Path, required=True, help="the program hit_path")
    parser.add_argument("--tree-calls", type=Path, required=True, help="the program tree_calls")
    parser.add_argument("--library", type=Path, required=True, help="the library to preload")
    parser.add_argument("--golden", type=Path, default=GOLDEN, help="the golden file")
    parser.add_argument("--compiler", required=True, help="what built the library: 'gcc 12'")
    parser.add_argument("--skip", default="", help="say why nothing can be compared, and skip")
    parser.add_argument("--update", action="store_true", help="write the golden file instead")
    return parser.parse_args()


def skip(reason):
    print(f"skipped: {reason}")
    return SKIPPED


def main():
    arguments = parse_arguments()
    if arguments.skip:
        return skip(arguments.skip)
    if shutil.which("valgrind") is None:
        return skip("valgrind is missing")
    if arguments.update:
        write_golden(arguments.golden, arguments.compiler, measure(arguments))
        return 0
    if not arguments.golden.exists():
        print(f"no {arguments.golden}: write it with --update")
        return 1
    compiler, golden = read_golden(arguments.golden)
    if compiler != arguments.compiler:
        return skip(f"the golden file is for {compiler}, this is {arguments.compiler}")
    return 1 if compare(golden, measure(arguments)) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except callgrind.CallgrindError as error:
        sys.exit(f"instruction_counts: {error}")
