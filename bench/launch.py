"""launch: runs a program under an allocator and returns what it cost."""

import re
import subprocess

from allocators import clean_environment

TIMEOUT_SECONDS = 300


class RunError(Exception):
    """The program crashed, failed its own checks, or took too long."""


def run(build, allocator, command, at_exit=False):
    """Runs `command` (a list) once under `allocator`, by the program `measure`.

    Returns a dict: wall_ns, cpu_us, peak_rss_kib, and with `at_exit` exit_rss_kib (the exact RSS
    when the program ends); and what the program printed as NAME=NUMBER lines.
    """
    launcher = [str(build / "measure"), *(["--at-exit"] if at_exit else []),
                allocator.library or "-", *map(str, command)]
    described = f"{' '.join(map(str, command))} under {allocator.name}"
    try:
        result = subprocess.run(launcher, env=clean_environment(), capture_output=True,
                                text=True, timeout=TIMEOUT_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise RunError(f"{described}: no end within {TIMEOUT_SECONDS} s") from None
    output, _, report = result.stdout.rpartition("measure ")
    if result.returncode != 0 or not report:
        raise RunError(f"{described}: {result.stderr.strip() or 'no report'}")
    # A library that can't be preloaded is only a warning of ld.so: the run would be glibc's.
    if "cannot be preloaded" in result.stderr:
        raise RunError(f"{described}: {result.stderr.strip()}")
    values = {name: float(number)
              for name, number in re.findall(r"^(\w+)=([\d.]+)$", output, re.MULTILINE)}
    values.update({name: float(number) for name, number in re.findall(r"(\w+)=(\d+)", report)})
    if values.pop("status") != 0:
        raise RunError(f"{described}: failed: {result.stderr.strip()[-300:]}")
    return values


def run_interleaved(build, allocators, command, rounds, progress, at_exit=False):
    """Runs A B C, A B C, … so that a disturbance of the machine hits all alike.

    Returns {name: [values of each round]}; an allocator that failed maps to its RunError.
    """
    results = {allocator.name: [] for allocator in allocators}
    for number in range(rounds):
        progress(f"{' '.join(map(str, command)).rpartition('/')[2]}, round {number + 1}/{rounds}")
        for allocator in allocators:
            if isinstance(results[allocator.name], RunError):
                continue
            try:
                results[allocator.name].append(run(build, allocator, command, at_exit))
            except RunError as error:
                results[allocator.name] = error
    return results
