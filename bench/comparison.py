#!/usr/bin/env python3
"""comparison: runs every workload under every allocator, by turns, and writes a report.

Called by tools/bench, which builds the library and the workloads. See bench/README.md.
"""

import argparse
import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import memory_over_time
import report
import scaling
from allocators import (OURS, REFERENCE, Allocator, AllocatorError, add_options,
                        choose_allocators, find_library, fingerprints, require_unchanged)
from launch import RunError, end_by_signals, interleaved, launch
from machine import machine
from real_programs import real_programs, write_inputs
from workload_table import GROUPS, MEMORY, memory_workloads, own_workloads

METRICS = ("cpu_us", "wall_ns", "peak_rss_kib")


@dataclass
class Cell:
    """What one allocator did with one workload: all its runs, or why it failed."""

    runs: list
    failure: Optional[str] = None


def under(allocator, workload):
    """The allocator, or glibc's made to take precedence over a malloc that a program brings."""
    if allocator.library is None and workload.brings_malloc:
        return Allocator(allocator.name, find_library("libc.so.6"))
    return allocator


def why_it_failed(name, error):
    """One line without the command, which the report has anyway."""
    text = str(error)
    return " ".join(text.partition(f"under {name}: ")[2].split() or text.split())


def run_once(programs, allocator, workload, expected):
    """The cost of one run; RunError when it prints something else than `expected`, if that is
    not None."""
    result = launch(programs, under(allocator, workload), workload.command,
                    environment=workload.environment, driver=workload.driver,
                    is_sampled=workload.is_sampled)
    if expected is not None and result.output != expected:
        raise RunError(f"{workload.name} under {allocator.name}: wrong output: "
                       f"its {len(result.output)} bytes are not the {len(expected)} without a "
                       "preloaded library")
    cost = {metric: result.cost[metric] for metric in METRICS}
    return {**cost, "timeline": result.timeline} if workload.is_sampled else cost


def measure(programs, allocators, workload, rounds, bar):
    """{allocator: Cell} of one workload, measured A B C, A B C, …

    A first run without a preloaded library says what the output must be, and warms the caches of
    the system; it isn't counted.
    """
    bar.set_postfix_str(workload.name)
    try:
        expected = launch(programs, Allocator(REFERENCE, None), workload.command,
                          environment=workload.environment, driver=workload.driver,
                          is_sampled=workload.is_sampled).output
    except RunError as error:
        bar.update(rounds * len(allocators))
        why = f"fails without a preloaded library: {why_it_failed(REFERENCE, error)}"
        return {one.name: Cell([], why) for one in allocators}

    done = 0

    def run_one(allocator, _):
        nonlocal done
        done += 1
        bar.update()
        return run_once(programs, allocator, workload,
                        expected if workload.output_is_fixed else None)
    results = interleaved(allocators, rounds, run_one)
    bar.update(rounds * len(allocators) - done)
    return {name: Cell([], why_it_failed(name, runs)) if isinstance(runs, RunError) else Cell(runs)
            for name, runs in results.items()}


def measure_all(programs, allocators, workloads, rounds):
    """[(workload, {allocator: Cell})]; what there is so far when it is interrupted."""
    from tqdm import tqdm  # pylint: disable=import-outside-toplevel; see modules.py
    results = []
    is_terminal = sys.stderr.isatty()
    with tqdm(total=len(workloads) * rounds * len(allocators), unit="run", smoothing=0.05,
              mininterval=0.5 if is_terminal else 30, dynamic_ncols=is_terminal) as bar:
        for workload in workloads:
            try:
                results.append((workload, measure(programs, allocators, workload, rounds, bar)))
            except KeyboardInterrupt:
                print("\ninterrupted; the report is of what was done", file=sys.stderr)
                break
    return results


def as_json(results, allocators, rounds, seconds, load):
    """All that was measured, every single run, but for the libraries' fingerprints."""
    return {
        "machine": machine(), "rounds": rounds, "seconds": round(seconds), "load": load,
        "allocators": {one.name: one.library for one in allocators},
        "workloads": [
            {"name": workload.name, "group": workload.group, "threads": workload.threads,
             "source": workload.source,
             "command": [Path(workload.command[0]).name, *workload.command[1:]],
             "cells": {name: {"failure": cell.failure, "runs": cell.runs}
                       for name, cell in cells.items()}}
            for workload, cells in results],
    }


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=Path, required=True,
                        help="the build directory with src/ and bench/")
    add_options(parser)
    parser.add_argument("--only", action="append", metavar="WORKLOAD",
                        help=f"a workload, or a group of them ({', '.join(GROUPS)}); may be "
                        "repeated")
    parser.add_argument("--allocators", metavar="A,B", help="some of the allocators, by name")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each (5)")
    parser.add_argument("--scaling", action="store_true",
                        help="measure how cost grows with live set, threads and order instead; "
                        f"its groups are {', '.join(scaling.GROUPS)}")
    parser.add_argument("--list", action="store_true", help="list the workloads and end")
    parser.add_argument("--output", type=Path, help="the directory for the report (BUILD)")
    arguments = parser.parse_args()
    if arguments.rounds < 1:
        parser.error("--rounds must be at least 1")
    return parser, arguments


def is_tree_wanted(arguments):
    return arguments.scaling and (not arguments.only or scaling.TREE in arguments.only)


def inputs_of(arguments):
    return (arguments.build / "inputs").resolve()


def choose_workloads(parser, arguments):
    programs = (arguments.build / "bench").resolve()
    if arguments.scaling:
        workloads = scaling.scaling_workloads(programs)
    else:
        workloads = own_workloads(programs)
        workloads += real_programs(inputs_of(arguments))
        workloads += memory_workloads(programs)
    for name in arguments.only or []:
        if is_tree_wanted(arguments) and name == scaling.TREE:
            continue
        if not any(name in (one.name, one.group) for one in workloads):
            parser.error(f"there is no workload '{name}'; --list shows them")
    wanted = scaling.with_companions(arguments.only or []) if arguments.scaling else arguments.only
    return [one for one in workloads
            if not wanted or one.name in wanted or one.group in wanted]


def choose_named(parser, arguments):
    """The allocators that --allocators names, or all."""
    names = arguments.allocators.split(",") if arguments.allocators else None
    try:
        return choose_allocators(arguments, (arguments.build / "bench").resolve(), names)
    except AllocatorError as error:
        parser.error(str(error))


def write_json(path, measured):
    path.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")


def write_comparison(_, measured, output):
    """Writes report.json, report.md and the plots; returns what failed."""
    import plots  # pylint: disable=import-outside-toplevel; see modules.py
    memory = memory_over_time.MemoryOverTime(measured, OURS)
    comparison = report.Comparison(measured, OURS, lambda one: one["group"] != MEMORY)
    write_json(output / "report.json",
               {**measured, "memory_over_time": memory_over_time.figures(memory)})
    plots.write_all(comparison, memory, output)
    text = report.as_markdown(comparison, memory.failures, memory_over_time.section(memory))
    (output / "report.md").write_text(text, encoding="utf-8")
    print("\n".join(filter(None, (report.summary(comparison), memory_over_time.summary(memory)))))
    print(f"{output / 'report.md'}")
    return comparison.failures + memory.failures


def write_scaling(arguments, measured, output):
    """Writes scaling.json, scaling.md and the plots; returns what failed."""
    import plots  # pylint: disable=import-outside-toplevel; see modules.py
    measured["tree"] = {"failure": None, "patterns": {}}
    if is_tree_wanted(arguments):
        measured["tree"] = scaling.count_tree(arguments.build / "bench")
    result = scaling.Scaling(measured, OURS)
    write_json(output / "scaling.json", {**measured, "figures": scaling.figures(result)})
    plots.write_scaling(result, output)
    text = scaling.as_markdown(result)
    (output / "scaling.md").write_text(text, encoding="utf-8")
    print(text.partition("## Workloads")[0])
    print(f"{output / 'scaling.md'}")
    return result.failures or measured["tree"]["failure"]


def main():
    end_by_signals()
    parser, arguments = parse_arguments()
    workloads = choose_workloads(parser, arguments)
    if arguments.check_arguments:
        return 0
    if arguments.list:
        for one in workloads:
            print(f"{one.name:22} {one.group:16} {one.threads:4}  {one.source}")
        return 0
    allocators = choose_named(parser, arguments)
    if not allocators:
        parser.error("no allocator is left")
    output = arguments.output or arguments.build
    output.mkdir(parents=True, exist_ok=True)
    if not arguments.scaling:
        write_inputs(inputs_of(arguments))

    libraries = fingerprints(allocators)
    started = time.monotonic()
    load = [os.getloadavg()[0]]
    results = measure_all((arguments.build / "bench").resolve(), allocators, workloads,
                          arguments.rounds)
    load.append(os.getloadavg()[0])
    if not results and not is_tree_wanted(arguments):
        return 1
    require_unchanged(allocators, libraries)
    measured = as_json(results, allocators, arguments.rounds, time.monotonic() - started, load)
    measured["sha256"] = libraries
    write = write_scaling if arguments.scaling else write_comparison
    return 1 if write(arguments, measured, output) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except FileNotFoundError as error:
        sys.exit(f"bench: {error.filename} is missing")
    except AllocatorError as error:
        sys.exit(f"bench: {error}")
