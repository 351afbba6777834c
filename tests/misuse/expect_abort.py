#!/usr/bin/env python3
"""expect_abort.py REGEX PROGRAM [ARGUMENT...]: runs a program that misuses the allocator.

Succeeds when the program is killed by SIGABRT, prints nothing to standard output, and to
standard error exactly one line, which REGEX matches from end to end.
"""

import re
import resource
import signal
import subprocess
import sys

TIMEOUT_S = 60


def complaint(pattern, command):
    """What is wrong with the program's end; None when nothing is."""
    try:
        run = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                             errors="replace", timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return f"still running after {TIMEOUT_S} s"
    said = f"standard error: {run.stderr!r}"
    if run.returncode >= 0:
        return f"not caught: exit status {run.returncode}, {said}"
    if run.returncode != -signal.SIGABRT:
        return f"killed by {signal.Signals(-run.returncode).name}, not SIGABRT, {said}"
    if run.stdout:
        return f"standard output: {run.stdout!r}"
    if not re.fullmatch(pattern + "\n", run.stderr):
        return f"{said}, expected: {pattern!r}"
    return None


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    wrong = complaint(sys.argv[1], sys.argv[2:])
    if wrong:
        sys.exit(wrong)


if __name__ == "__main__":
    main()
