#!/usr/bin/env python3
"""run.py TOOLS_RUN: tools/run builds the library, runs a program on it, and says no.

It builds in the source tree. Exits with 77, "skipped", where that can't be written.
"""

import os
import pathlib
import re
import signal
import sys
import tempfile

from command import Command, SUMMARY, expect

BUILD_S = 240
PRINT_OPTIONS = ["bash", "-c", 'echo "$BUDDYMALLOC_CONF"']
PRINT_PRELOAD = ["bash", "-c", 'echo "$LD_PRELOAD"']


def check_running(run):
    """Input, output, error and status are the program's; then comes the summary."""
    script = "cat; echo to error >&2; exit 3"
    status, output, error = run.run("bash", "-c", script, text_in="through\n")
    expect((status, output) == (3, "through\n"), "its own", status, output, error)
    expect(re.search(r"^to error\nbuddymalloc summary", error, re.M), "summary", error)
    expect(error.count(SUMMARY) == 1, "a summary, not those of its children", error)
    status, _, error = run.run("bash", "-c", "kill -TERM $$")
    expect(status == -signal.SIGTERM and error == "", "killed", status, error)
    ended = run.run("--", "sort", "--version", BUDDYMALLOC_CONF="")
    expect(ended[0] == 0 and "sort" in ended[1] and ended[2] == "", "--", ended)


def check_backends(run):
    for arguments, backend in (((), "mmap"), (("--backend", "mmap"), "mmap"),
                               (("--backend", "sbrk"), "sbrk"), (("--backend=sbrk",), "sbrk")):
        status, output, error = run.run(*arguments, *PRINT_PRELOAD)
        expect(status == 0 and f"/build/run-{backend}/" in output and SUMMARY in error,
               arguments, status, output, error)


def check_preload(run):
    """What the caller preloads stays, behind the library."""
    alone = run.run(*PRINT_PRELOAD)[1]
    both = run.run(*PRINT_PRELOAD, LD_PRELOAD="libm.so.6")[1]
    expect(both == f"{alone.strip()}:libm.so.6\n", "LD_PRELOAD", both)


def check_options(run):
    """Those of the caller reach the program, with the summary if they say nothing of it."""
    for options, wanted, is_summed_up in (
            ("limit:1G", r"limit:1G,stats:exit=\d+", True), ("", None, False),
            ("stats:exit", None, True), ("limit:1G,stats:exit=1", None, False)):
        status, output, error = run.run(*PRINT_OPTIONS, BUDDYMALLOC_CONF=options)
        expect(status == 0 and re.fullmatch((wanted or re.escape(options)) + "\n", output),
               options, output, error)
        expect((SUMMARY in error) == is_summed_up, options, error)


def check_paths(run):
    with tempfile.TemporaryDirectory(prefix="a path ") as folder:
        script = pathlib.Path(folder, "a script")
        script.write_text("#!/bin/sh\necho here\n", encoding="ascii")
        status, output, error = run.run(str(script))
        expect(status == 126 and output == "" and str(script) in error, "no x bit", status, error)
        script.chmod(0o755)
        ended = run.run(str(script), BUDDYMALLOC_CONF="")
        expect(ended == (0, "here\n", ""), "a path with spaces", ended)


def check_refusals(run):
    for wanted, words, arguments in (
            (2, "which program", []),
            (2, "--nonsense", ["--nonsense", "sort"]),
            (2, "needs a value", ["--backend"]),
            (2, "'brk'", ["--backend", "brk", "sort"]),
            (2, "''", ["--backend=", "sort"]),
            (126, "/usr", ["/usr"]),
            (127, "no-such-program", ["no-such-program"]),
            (127, "/no/such/program", ["--", "/no/such/program"])):
        status, output, error = run.run(*arguments)
        expect(status == wanted and output == "" and error.startswith("run: ") and words in error,
               arguments, status, output, error)
        expect((wanted == 2) == ("usage: " in error), arguments, error)
    status, output, error = run.run("--help")
    expect(status == 0 and output.startswith("usage: tools/run ") and not error, "--help", error)


def main():
    tool = pathlib.Path(sys.argv[1])
    if not os.access(tool.parents[1], os.W_OK):
        sys.exit(77)
    run = Command(tool, BUILD_S)
    check_refusals(run)
    check_running(run)
    check_backends(run)
    check_preload(run)
    check_options(run)
    check_paths(run)


if __name__ == "__main__":
    main()
