#!/usr/bin/env python3
"""expect_abort.py REGEX PROGRAM [ARGUMENT...]: runs a program that misuses the allocator.

Succeeds when the program is killed by SIGABRT, prints nothing to standard output, and to
standard error exactly one line, which REGEX matches from end to end. In a cross build the
program runs in the emulator that Meson names; what that says of the abort is not counted.
"""

import os
import re
import resource
import shlex
import signal
import subprocess
import sys

TIMEOUT_S = 60
EMULATOR = shlex.split(os.environ.get("MESON_EXE_WRAPPER", ""))
SAID_BY_EMULATOR = r"qemu: uncaught target signal 6 \(Aborted\) - core dumped\n"


def complaint(pattern, command):
    """What is wrong with the program's end; None when nothing is."""
    try:
        run = subprocess.run(EMULATOR + command, stdin=subprocess.DEVNULL, capture_output=True,
                             text=True, errors="replace", timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return f"still running after {TIMEOUT_S} s"
    said = f"standard error: {run.stderr!r}"
    if run.returncode >= 0:
        return f"not caught: exit status {run.returncode}, {said}"
    if run.returncode != -signal.SIGABRT:
        return f"killed by {signal.Signals(-run.returncode).name}, not SIGABRT, {said}"
    if run.stdout:
        return f"standard output: {run.stdout!r}"
    by_program = re.sub(SAID_BY_EMULATOR, "", run.stderr) if EMULATOR else run.stderr
    if not re.fullmatch(pattern + "\n", by_program):
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
