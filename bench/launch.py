"""launch: runs a program under an allocator and returns what it cost."""

import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import Optional

import timeline
from allocators import clean_environment

TIMEOUT_SECONDS = 300
CRASH_SECONDS = 5  # until a server that doesn't answer any more has ended, if it crashed


class RunError(Exception):
    """The program crashed, failed its own checks, or took too long."""


@dataclass
class Run:
    """What a run cost, by name (see `run`), what the program printed, and, if it was sampled, how
    its memory went (see timeline.py)."""

    cost: dict
    output: bytes
    timeline: Optional[dict] = None


def end_by_signals():
    """SIGTERM and SIGHUP end the tool as SystemExit, and so what it runs: that has a session of
    its own, which no terminal's signal reaches. One that is ignored, as by nohup, stays so."""
    for one in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(one) is not signal.SIG_IGN:
            signal.signal(one, lambda number, _: sys.exit(128 + number))


def how_it_ended(status):
    """An exit status in words; `measure` gives 128 and the signal's number for a signal."""
    try:
        return f"killed by {signal.Signals(status - 128).name}"
    except ValueError:
        return f"exit status {status}"


def finish(process, driver, described):
    """What a started process printed. None of its descendants outlives an error."""
    driven = b""
    patience = TIMEOUT_SECONDS
    driver_error = None
    try:
        try:
            driven = driver() if driver else b""
        except RunError as error:
            driver_error, patience = error, CRASH_SECONDS
        output, errors = process.communicate(timeout=patience)
        return driven + output, errors.decode(errors="replace").strip()
    except subprocess.TimeoutExpired:
        if driver_error is not None:
            raise RunError(f"{described}: {driver_error}") from None
        raise RunError(f"{described}: no end within {TIMEOUT_SECONDS} s") from None
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def launch(build, allocator, command, at_exit=False, environment=None, driver=None,
           is_sampled=False):
    """Runs `command` (a list) once under `allocator`, by the program `measure`.

    `environment` is what the program needs beside the clean one. `driver` is called while the
    program runs, for a server; what it returns counts as the program's output. `is_sampled`: RSS
    is read while the program runs, and its output has marks of time.
    """
    options = ["--at-exit"] if at_exit else ["--sample"] if is_sampled else []
    launcher = [str(build / "measure"), *options, allocator.library or "-", *map(str, command)]
    described = f"{' '.join(map(str, command))} under {allocator.name}"
    process = subprocess.Popen(launcher, env={**clean_environment(), **(environment or {})},
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, start_new_session=True)
    output, errors = finish(process, driver, described)
    output, _, report = output.rpartition(b"measure ")
    if process.returncode != 0 or not report:
        raise RunError(f"{described}: {errors or 'no report'}")
    # A library that can't be preloaded is only a warning of ld.so: the run would be glibc's.
    if "cannot be preloaded" in errors:
        raise RunError(f"{described}: {errors}")
    cost = {name: float(number)
            for name, number in re.findall(r"(\w+)=(\d+)", report.decode())}
    status = int(cost.pop("status"))
    if status != 0:
        raise RunError(f"{described}: {how_it_ended(status)}: {errors[-300:]}".rstrip(": "))
    if is_sampled:
        return Run(cost, *timeline.separate(output, cost["start_ns"]))
    return Run(cost, output)


def run(build, allocator, command, at_exit=False):
    """Runs `command` once under `allocator`.

    Returns a dict: wall_ns, cpu_us, peak_rss_kib, and with `at_exit` exit_rss_kib (the exact RSS
    when the program ends); and what the program printed as NAME=NUMBER lines.
    """
    result = launch(build, allocator, command, at_exit)
    values = {name: float(number) for name, number in
              re.findall(r"^(\w+)=([\d.]+)$", result.output.decode(), re.MULTILINE)}
    return {**values, **result.cost}


def interleaved(allocators, rounds, run_one):
    """Calls run_one(allocator, round) A B C, A B C, … so that a disturbance hits all alike.

    Returns {name: [results]}; an allocator that failed maps to its RunError and isn't run again.
    """
    results = {allocator.name: [] for allocator in allocators}
    for number in range(rounds):
        for allocator in allocators:
            if isinstance(results[allocator.name], RunError):
                continue
            try:
                results[allocator.name].append(run_one(allocator, number))
            except RunError as error:
                results[allocator.name] = error
    return results


def run_interleaved(build, allocators, command, rounds, progress, at_exit=False):
    """Runs a command with all allocators; see `interleaved` and `run`."""
    def run_one(allocator, number):
        progress(f"{' '.join(map(str, command)).rpartition('/')[2]}, round {number + 1}/{rounds}")
        return run(build, allocator, command, at_exit)
    return interleaved(allocators, rounds, run_one)
