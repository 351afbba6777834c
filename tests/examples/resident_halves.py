#!/usr/bin/env python3
"""resident_halves.py PROGRAM: it prints "before: N KiB" and "after: N KiB" of resident memory, and
the second is at most half of the first. In a cross build PROGRAM runs in the emulator that Meson
names."""

import os
import re
import shlex
import subprocess
import sys

EMULATOR = shlex.split(os.environ.get("MESON_EXE_WRAPPER", ""))


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    run = subprocess.run([*EMULATOR, sys.argv[1]], capture_output=True, text=True, check=False)
    print(run.stdout, end="")
    if run.returncode != 0:
        sys.exit(f"exit status {run.returncode}, standard error: {run.stderr!r}")
    resident = {when: int(kib) for when, kib in
                re.findall(r"^(before|after): (\d+) KiB$", run.stdout, re.MULTILINE)}
    if resident.keys() != {"before", "after"}:
        sys.exit("no figures")
    if resident["after"] * 2 > resident["before"]:
        sys.exit("it did not halve")


if __name__ == "__main__":
    main()
