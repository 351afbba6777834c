#!/usr/bin/env python3
"""kinds.py [--hardened] [--near] PROGRAM: runs every misuse of kinds.c, on blocks of every size.

Each must end as KINDS says that the library promises, or the hardened one; what isn't promised is
not run. With --near those that write a MiB away are left out: where the heap is the program's
break, what lies in front of it is accessible, and not the library's. In a cross build the program
runs in the emulator that Meson names.
"""

import argparse
import os
import re
import resource
import shlex
import signal
import subprocess
import sys
from dataclasses import dataclass

TIMEOUT_S = 60
EMULATOR = shlex.split(os.environ.get("MESON_EXE_WRAPPER", ""))
SAID_BY_EMULATOR = r"qemu: uncaught target signal \d+ \([A-Za-z ]+\) - core dumped\n"

# Bytes of a block: a slot of the smallest class, one of a page, a page block, a huge block.
SIZES = {"small": 8, "medium": 4096, "large": 256 * 1024, "huge": 8 * 1024 * 1024}

# Ways to end, besides a message that matches, and SIGABRT.
FAULT = "a fault, nothing said"  # a page that can't be accessed
FOILED = "status 3"  # the program sees that it got nothing out of it
FOILED_STATUS = 3


def message(what):
    """The regular expression of the one line that the library prints before it aborts."""
    return rf"buddymalloc: {what} of 0x[0-9a-f]+( \(size class [0-9]+\))?"


DOUBLE_FREE = (message("double free"),)
# What has left the heap, or never was a block, is no longer told from one that was.
FREE = (message("(double|invalid) free"),)
INVALID = (message("invalid free"),)
REALLOC = (message("invalid realloc"),)
USABLE_SIZE = (message("invalid malloc_usable_size"),)
SIZE = (message("invalid size"),)
OVERFLOW = (message("overflow"),)
# Far from its block, a write may hit one that is live or one that is free, or a guard.
OVERFLOW_OR_FAULT = (message("(overflow|write after free)"), FAULT)
UNDERFLOW_OR_FAULT = (message("(underflow|overflow|write after free)"), FAULT)
WRITE_AFTER_FREE = (message("write after free"), FAULT)
STALE = (FOILED, FAULT)


@dataclass(frozen=True)
class Kind:
    """A misuse: the group it is counted in, how the library must end it, and the hardened one.

    None promises nothing, and nobody promises anything of the sizes in but_for. What the library
    promises the hardened one does too. is_in_116 says that mimalloc-bench's bench/security has it.
    Where chance decides, one of so many tries is enough.
    """

    group: str
    default: tuple
    hardened: tuple
    is_in_116: bool = True
    but_for: tuple = ()
    tries: int = 1


def promised(group, default, **more):
    return Kind(group, default, default, **more)


def hardened(group, expected, **more):
    return Kind(group, None, expected, **more)


KINDS = {
    "double_free": promised("double free", DOUBLE_FREE),
    "double_free_delayed": promised("double free", DOUBLE_FREE),
    "double_free_interleaved": promised("double free", FREE),
    "double_free_reused": promised("double free", DOUBLE_FREE),
    "double_free_then_churn": promised("double free", DOUBLE_FREE),
    "realloc_to_zero_then_free": promised("double free", DOUBLE_FREE, is_in_116=False),
    "free_then_realloc": promised("use of a freed block by the API", REALLOC, is_in_116=False),
    "free_then_usable_size": promised("use of a freed block by the API", USABLE_SIZE,
                                      is_in_116=False),
    "free_number": promised("invalid free", INVALID),
    "free_alloca": promised("invalid free", INVALID),
    "free_stack": promised("invalid free", INVALID),
    "free_4_kib_further": promised("invalid free", FREE),
    "free_1_gib_further": promised("invalid free", INVALID),
    "free_1_byte_further": promised("invalid free", INVALID),
    "free_8_bytes_further": promised("invalid free", INVALID),
    "free_behind_end": promised("invalid free", FREE, is_in_116=False),
    "free_sized_of_half": hardened("wrong size", SIZE, is_in_116=False),
    "free_sized_of_double": hardened("wrong size", SIZE, is_in_116=False),
    "free_aligned_sized_of_double": hardened("wrong size", SIZE, is_in_116=False),
    "free_aligned_sized_of_other_alignment": hardened(
        "wrong size", (message("invalid alignment"), message("invalid size")), is_in_116=False),
    "malloc_impossible": promised("impossible size", (FOILED,)),
    "overflow_1": hardened("overflow", OVERFLOW),
    "overflow_8": hardened("overflow", OVERFLOW_OR_FAULT, is_in_116=False),
    "overflow_16": hardened("overflow", OVERFLOW_OR_FAULT, is_in_116=False),
    "overflow_32": hardened("overflow", OVERFLOW_OR_FAULT),
    "overflow_4096": hardened("overflow", OVERFLOW_OR_FAULT, is_in_116=False),
    # Behind a huge block lies the rest of its chunk.
    "overflow_1_mib": hardened("overflow", OVERFLOW_OR_FAULT, but_for=("huge",)),
    "overflow_of_usable": hardened("overflow", OVERFLOW_OR_FAULT, is_in_116=False),
    "overflow_after_shrinking": hardened("overflow", OVERFLOW_OR_FAULT, is_in_116=False),
    "overflow_of_aligned": hardened("overflow", OVERFLOW_OR_FAULT, is_in_116=False),
    "underflow_1": hardened("underflow", UNDERFLOW_OR_FAULT),
    "underflow_8": hardened("underflow", UNDERFLOW_OR_FAULT, is_in_116=False),
    "underflow_16": hardened("underflow", UNDERFLOW_OR_FAULT, is_in_116=False),
    "underflow_32": hardened("underflow", UNDERFLOW_OR_FAULT),
    "underflow_4096": hardened("underflow", UNDERFLOW_OR_FAULT, is_in_116=False),
    # In one run of forty it hits the bookkeeping in front of a tree's blocks, behind the guard.
    "underflow_64_kib": hardened("underflow", UNDERFLOW_OR_FAULT, is_in_116=False, tries=4),
    "underflow_1_mib": hardened("underflow", UNDERFLOW_OR_FAULT),
    "copy_overflow_1": hardened("overflow by a copy, never freed", OVERFLOW_OR_FAULT),
    "copy_overflow_32": hardened("overflow by a copy, never freed", OVERFLOW_OR_FAULT),
    "copy_overflow_1_mib": hardened("overflow by a copy, never freed", OVERFLOW_OR_FAULT),
    "copy_underflow_1": hardened("underflow by a copy, never freed", UNDERFLOW_OR_FAULT),
    "copy_underflow_32": hardened("underflow by a copy, never freed", UNDERFLOW_OR_FAULT),
    "copy_underflow_1_mib": hardened("underflow by a copy, never freed", UNDERFLOW_OR_FAULT),
    "write_after_free": hardened("write after free", WRITE_AFTER_FREE),
    "write_after_free_then_churn": hardened("write after free", WRITE_AFTER_FREE),
    "write_after_free_at_end": hardened("write after free", WRITE_AFTER_FREE, is_in_116=False),
    "read_after_free": hardened("read of old contents", STALE),
    "read_after_realloc": hardened("read of old contents", STALE, is_in_116=False),
    "read_new": hardened("read of old contents", STALE),
    "read_new_where_others_were": hardened("read of old contents", STALE, is_in_116=False),
    "reuse_at_once": hardened("an address that can be told", STALE),
    "reuse_by_smaller": hardened("an address that can be told", STALE),
    "reuse_by_realloc": hardened("an address that can be told", STALE),
    "place_in_order": hardened("an address that can be told", STALE, is_in_116=False,
                               but_for=("huge",), tries=3),
    "execute": promised("execution", (FAULT,)),
    "read_nothing": promised("use of a block of no bytes", (FAULT,)),
    "read_nothing_and_free": promised("use of a block of no bytes", (FAULT,)),
    "write_nothing": promised("use of a block of no bytes", (FAULT,)),
    "write_nothing_and_free": promised("use of a block of no bytes", (FAULT,)),
}


def run(command, timeout=TIMEOUT_S, **more):
    """Runs a misuse; None for the status: it did not end."""
    try:
        result = subprocess.run(EMULATOR + command, stdin=subprocess.DEVNULL, capture_output=True,
                                text=True, errors="replace", timeout=timeout, check=False, **more)
    except subprocess.TimeoutExpired:
        return None, ""
    said = re.sub(SAID_BY_EMULATOR, "", result.stderr) if EMULATOR else result.stderr
    return result.returncode, said


def is_as_expected(expected, status, said):
    """Whether a misuse ended in one of the ways that are expected."""
    if status == FOILED_STATUS:
        return FOILED in expected and said == ""
    if status in (-signal.SIGSEGV, -signal.SIGBUS):
        return FAULT in expected and said == ""
    return status == -signal.SIGABRT and any(re.fullmatch(way + "\n", said) for way in expected)


def check(program, is_hardened, is_near):
    """The number of misuses that were run, and a line for each that did not end as promised."""
    count, wrong = 0, []
    for name, kind in KINDS.items():
        expected = kind.hardened if is_hardened else kind.default
        if expected is None or (is_near and name.endswith("_mib")):
            continue
        for size_name, size in SIZES.items():
            if size_name in kind.but_for:
                continue
            count += 1
            for _ in range(kind.tries):
                status, said = run([program, name, str(size)])
                is_right = is_as_expected(expected, status, said)
                if is_right:
                    break
            if not is_right:
                wrong.append(f"{name} {size_name}: status {status}, standard error {said!r}, "
                             f"expected: {' or '.join(expected)}")
    return count, wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--hardened", action="store_true")
    parser.add_argument("--near", action="store_true")
    parser.add_argument("program")
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    count, wrong = check(arguments.program, arguments.hardened, arguments.near)
    print(f"{count - len(wrong)} of {count} misuses end as promised")
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
