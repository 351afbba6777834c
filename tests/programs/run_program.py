#!/usr/bin/python3
"""Runs a real program twice, without and with a malloc preloaded, and compares what it does.

    run_program.py PROGRAM LIBRARY BACKEND BUILD_ROOT

PROGRAM is the name of a function of programs.py, LIBRARY the shared library to preload, BACKEND
where that takes memory from (mmap or sbrk), BUILD_ROOT a build directory of this project, whose
sources are something to compile.

Both runs start in an empty directory of the same name and must give the same output. A program
that isn't installed is skipped (status 77).
"""

import difflib
import pathlib
import shutil
import sys
import tempfile

import programs
from session import Failure, Session, Skip, tail

SKIPPED = 77


def run_once(function, work, library, *about, make_session=Session):
    """The output of a program; a Failure says in which of the two runs it came."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    try:
        return function(make_session(work, library, *about))
    except Failure as failure:
        which = "without the library" if library is None else f"with {library.name}"
        raise Failure(f"{which}: {failure}") from None


def compare(function, library, *about):
    with tempfile.TemporaryDirectory(prefix="buddymalloc-") as directory:
        # LD_PRELOAD can't hold a path with a space or a colon: give it a link without.
        link = pathlib.Path(directory, library.name)
        link.symlink_to(library)
        work = pathlib.Path(directory, "work")
        expected = run_once(function, work, None, *about)
        actual = run_once(function, work, link, *about)
    if actual != expected:
        difference = difflib.unified_diff(expected.splitlines(), actual.splitlines(),
                                          "without", "with", lineterm="", n=1)
        raise Failure("the output differs\n" + tail("\n".join(difference)))
    print(f"the same {len(expected.splitlines())} lines of output")


def main():
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    name, library, backend, build_root = sys.argv[1:]
    try:
        compare(getattr(programs, name), pathlib.Path(library).resolve(strict=True), backend,
                pathlib.Path(build_root).resolve(strict=True))
    except Skip as reason:
        print(f"skipped: {reason}")
        return SKIPPED
    except Failure as failure:
        print(f"{name}: {failure}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
