#!/usr/bin/env python3
"""Runs the misuses of tests/misuse on this malloc and on others: a table of who ends which.

The programs are built once against the standard names (bench/misuse/standard) and run with each
allocator preloaded, in its default settings. tools/misuse-table calls this.
"""

import argparse
import concurrent.futures
import datetime
import os
import platform
import resource
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

from allocators import AllocatorError, add_options, choose_allocators, clean_environment

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "misuse"))
import kinds  # noqa: E402, pylint: disable=wrong-import-position

RUNS = 3  # caught is what is caught in each of them
TIMEOUT_S = 60
FLAGS = ["-O2", "-std=gnu11", "-D_GNU_SOURCE", "-fno-builtin", "-w", "-pthread"]
SIZES_OF_116 = ("small", "medium", "large")
CPP_GROUP = "delete that doesn't match its new"
CPP_KINDS = ("delete_of_larger_type", "delete_of_chars", "delete_of_strings",
             "array_delete_of_char", "array_delete_of_string")

# What ends a misuse, the letters of the table.
ABORT, FAULT, FOILED, HAD_ITS_WAY = "A", "F", "N", "·"
LEGEND = f"""\
{ABORT}: the allocator ends the program, by a message or `abort()`; {FAULT}: the access, or the
allocator itself, faults; {FOILED}: the program goes on, and the misuse gets nothing out of it;
{HAD_ITS_WAY}: the misuse has its way."""

# Programs that misuse what only this library has, or that need a second allocator beside it.
NOT_STANDARD = ("buddymalloc_should_move", "buddymalloc_utilization")
NOT_A_MISUSE = ("other_allocator", "realloc_other_allocator")


def standard_programs():
    """The sources of the misuses that every malloc can be tried with."""
    for source in sorted((ROOT / "tests" / "misuse").glob("*.c")):
        text = source.read_text()
        if source.stem != "kinds" and not source.stem.startswith(NOT_A_MISUSE) and \
                not any(name in text for name in NOT_STANDARD):
            yield source


def compile_program(source, directory):
    compiler = "g++" if source.suffix == ".cpp" else "gcc"
    flags = ["-O2", "-std=c++17", "-fno-builtin", "-w"] if compiler == "g++" else FLAGS
    target = directory / source.stem
    include = ["-I", str(ROOT / "bench" / "misuse" / "standard"), "-I", str(ROOT / "tests/support")]
    subprocess.run([compiler, *flags, *include, str(source), "-o", str(target)], check=True)
    return target


def compile_all(directory):
    """The commands of all misuses: (group, kind, size or None) -> command."""
    directory.mkdir(parents=True, exist_ok=True)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        sources = list(standard_programs())
        targets = list(pool.map(lambda source: compile_program(source, directory), sources))
    program = str(compile_program(ROOT / "tests" / "misuse" / "kinds.c", directory))
    deletes = str(compile_program(ROOT / "bench" / "misuse" / "deletes.cpp", directory))
    commands = {}
    for name, kind in kinds.KINDS.items():
        for size_name, size in kinds.SIZES.items():
            commands[kind.group, name, size_name] = [program, name, str(size)]
    for name in CPP_KINDS:
        commands[CPP_GROUP, name, None] = [deletes, name]
    for target in targets:
        commands[None, target.name, None] = [str(target)]
    return commands


def run_once(command, environment):
    try:
        result = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL,
                                capture_output=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return HAD_ITS_WAY
    if result.returncode in (-signal.SIGSEGV, -signal.SIGBUS) and not result.stderr:
        return FAULT
    if result.returncode < 0 or result.stderr:
        return ABORT
    if result.returncode == kinds.FOILED_STATUS:
        return FOILED
    return HAD_ITS_WAY


def run(command, environment):
    """How a misuse ends, at its least convincing of some runs."""
    ends = [run_once(command, environment) for _ in range(RUNS)]
    return max(ends, key=[ABORT, FAULT, FOILED, HAD_ITS_WAY].index)


def is_in_116(key):
    group, name, size = key
    if group == CPP_GROUP:
        return True
    return group is not None and kinds.KINDS[name].is_in_116 and size in SIZES_OF_116


def table(head, rows):
    lines = [head, ["---"] + ["---:"] * (len(head) - 1)] + rows
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def count_table(allocators, ends):
    """Of each group, how many of the 116 each allocator ends."""
    totals = Counter(key[0] for key in ends[allocators[0]] if is_in_116(key))
    rows = []
    for group, total in totals.items():
        rows.append([group, total] + [
            sum(end != HAD_ITS_WAY for key, end in ends[allocator].items()
                if key[0] == group and is_in_116(key)) for allocator in allocators])
    sums = [f"**{sum(column)}**" for column in list(zip(*rows))[1:]]
    return table(["misuse", "of"] + allocators, rows + [["together"] + sums])


def kinds_table(allocators, ends):
    """One row a kind; a letter a size."""
    rows = []
    for name, kind in kinds.KINDS.items():
        cells = ["".join(ends[allocator][kind.group, name, size] for size in kinds.SIZES)
                 for allocator in allocators]
        rows.append([f"{kind.group}: `{name}`"] + cells)
    for name in CPP_KINDS:
        rows.append([f"{CPP_GROUP}: `{name}`"] +
                    [ends[allocator][CPP_GROUP, name, None] for allocator in allocators])
    return table(["misuse"] + allocators, rows)


def programs_table(allocators, ends):
    names = [name for group, name, _ in ends[allocators[0]] if group is None]
    rows = [[f"`{name}`"] + [ends[allocator][None, name, None] for allocator in allocators]
            for name in names]
    caught = [sum(ends[allocator][None, name, None] != HAD_ITS_WAY for name in names)
              for allocator in allocators]
    return table(["program"] + allocators, rows + [[f"caught, of {len(names)}"] + caught])


def version_of(allocator):
    """What Debian calls the package that the library is from."""
    if allocator.library is None:
        return f"glibc {platform.libc_ver()[1]}"
    if allocator.name.startswith("buddymalloc"):
        return allocator.name
    path = os.path.realpath(allocator.library)
    found = subprocess.run(["dpkg", "-S", path], capture_output=True, text=True, check=False)
    package = found.stdout.partition(":")[0]
    version = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", package],
                             capture_output=True, text=True, check=False).stdout
    return f"{allocator.name} ({package} {version})"


def report(allocators, ends):
    names = [allocator.name for allocator in allocators]
    sizes = ", ".join(f"{name} {size}" for name, size in kinds.SIZES.items())
    versions = ", ".join(version_of(allocator) for allocator in allocators)
    return "\n\n".join([
        f"By `tools/misuse-table` on {datetime.date.today()}, {platform.machine()}, "
        f"each misuse run {RUNS} times: {versions}.",
        "### By kind", count_table(names, ends),
        "### Every kind", LEGEND, f"Letters stand for the sizes, in bytes: {sizes}.",
        kinds_table(names, ends),
        "### Every program", programs_table(names, ends)]) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--build", type=Path, required=True, help="a build directory")
    parser.add_argument("--output", type=Path, help="where the table goes; default: its standard "
                                                    "output")
    add_options(parser)
    arguments = parser.parse_args()
    if arguments.check_arguments:
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        allocators = choose_allocators(arguments, arguments.build / "bench")
    except AllocatorError as error:
        sys.exit(f"misuse-table: {error}")
    commands = compile_all(arguments.build / "misuse")
    ends = {}
    for allocator in allocators:
        print(f"misuse-table: {allocator.name}", file=sys.stderr)
        environment = clean_environment(allocator.library)
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            found = pool.map(lambda command: run(command, environment), commands.values())
            ends[allocator.name] = dict(zip(commands, found))
    text = report(allocators, ends)
    if arguments.output:
        arguments.output.write_text(text)
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
