#!/usr/bin/env python3
"""symbols.py LIBRARY BACKEND: a library of one backend must not call the other's system calls."""

import shutil
import subprocess
import sys

FORBIDDEN = {
    "mmap": {"sbrk", "brk"},
    "sbrk": {"mmap", "mmap64", "munmap", "mremap"},
}
# Proof that the list of symbols was read: each backend needs this one.
NEEDED = {"mmap": {"mmap", "mmap64"}, "sbrk": {"sbrk"}}
SKIPPED = 77


def undefined_symbols(library):
    command = ["nm", "-D", "--undefined-only", library]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return {line.split()[-1].partition("@")[0] for line in lines if line.strip()}


def main(library, backend):
    if shutil.which("nm") is None:
        print("nm is not installed")
        return SKIPPED
    symbols = undefined_symbols(library)
    wrong = sorted(symbols & FORBIDDEN[backend])
    if wrong:
        print(f"{library}: the {backend} backend must not need {', '.join(wrong)}")
        return 1
    if not symbols & NEEDED[backend]:
        print(f"{library}: the {backend} backend is not in it")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
