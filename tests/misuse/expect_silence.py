#!/usr/bin/env python3
"""expect_silence.py PROGRAM [ARGUMENT...]: succeeds when the program ends with status 0 and prints
nothing. In a cross build it runs in the emulator that Meson names."""

import os
import shlex
import subprocess
import sys

TIMEOUT_S = 60
EMULATOR = shlex.split(os.environ.get("MESON_EXE_WRAPPER", ""))


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    run = subprocess.run(EMULATOR + sys.argv[1:], stdin=subprocess.DEVNULL, capture_output=True,
                         text=True, errors="replace", timeout=TIMEOUT_S, check=False)
    if run.returncode != 0 or run.stdout or run.stderr:
        sys.exit(f"status {run.returncode}, standard output {run.stdout!r}, "
                 f"standard error {run.stderr!r}")


if __name__ == "__main__":
    main()
