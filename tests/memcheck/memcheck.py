#!/usr/bin/env python3
"""memcheck.py VALGRIND CASES: what memcheck says of the cases of cases.c.

Nothing of the clean one. Of the others one error a block, at the block, with the stack of its
allocation in it. Where Valgrind can't start such a program, for it lacks the symbols of the dynamic
linker, nothing is tested.
"""

import subprocess
import sys

BLOCKS = 9


def run(case):
    """Memcheck's errors as the lines of its report, and whether the case came to its end."""
    valgrind, cases = sys.argv[1:]
    done = subprocess.run([valgrind, "--leak-check=no", "--num-callers=20", cases, case],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    return done.stderr, done.stdout == "done\n" and done.returncode == 0


def expect(is_so, what, report):
    if not is_so:
        print(report)
        sys.exit(f"memcheck.py: {what}")


def main():
    report, has_ended = run("clean")
    if "Fatal error at startup" in report:
        print(report)
        sys.exit(77)
    expect(has_ended, "the clean case didn't end well", report)
    expect("ERROR SUMMARY: 0 errors" in report, "there are errors in the clean case", report)
    for case, error, place in (("overrun", "Invalid write of size 1", " is 0 bytes after a block"),
                               ("use_after_free", "Invalid read of size 1", " inside a block")):
        report, has_ended = run(case)
        expect(has_ended, f"{case} didn't end well", report)
        expect(f"ERROR SUMMARY: {BLOCKS} errors" in report, f"{case}: not an error a block", report)
        for what in (error, place, "allocate_it"):
            expect(what in report, f"{case}: the report lacks '{what}'", report)
        if case == "use_after_free":
            expect(" free'd" in report and "free_it" in report,
                   "the report lacks the free", report)
    print("memcheck: passed")


if __name__ == "__main__":
    main()
