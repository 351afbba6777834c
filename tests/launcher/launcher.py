#!/usr/bin/env python3
"""launcher.py LAUNCHER OPTIONS_C: the command buddymalloc preloads, sets options, and says no.

OPTIONS_C is the source that has the table of options: each has an option of the command.
"""

import os
import pathlib
import re
import sys
import tempfile

from command import Command, SUMMARY, expect

PRINT_SETTINGS = ["sh", "-c", 'echo "$BUDDYMALLOC_CONF|${MALLOC_PERTURB_-}|$$"']


def check_running(launcher):
    status, _, error = launcher.run("--stats", "sort")
    expect(status == 0 and error.count(SUMMARY) == 1, "--stats", status, error)
    # Of the program itself, not of its children.
    status, _, error = launcher.run("--stats", "sh", "-c", "sort; sort; exec sort")
    expect(error.count(SUMMARY) == 1, "--stats of children", error)
    ended = launcher.run("sh", "-c", "echo out; echo --stats >&2; exit 3", "--help")
    expect(ended == (3, "out\n", "--stats\n"), "the program's own", ended)
    ended = launcher.run("--", "sort", "--version")
    expect(ended[0] == 0 and "sort" in ended[1] and ended[2] == "", "--", ended)


def check_settings(launcher):
    expected = {
        (): ("||", {}),
        ("--limit", "2G"): ("limit:2G||", {}),
        ("--limit=64M", "--purge-delay=-1"): ("limit:64M,purge_delay:-1||", {}),
        ("--background-purge", "--huge-pages"): ("background_purge:on,huge_pages:on||", {}),
        ("--purge-delay", "0", "--set", "huge_pages:off"): ("purge_delay:0,huge_pages:off||", {}),
        ("--purge-delay", "5"): ("limit:1G,purge_delay:5||", {"BUDDYMALLOC_CONF": "limit:1G"}),
        ("--perturb", "165"): ("|165|", {}),
        ("--perturb", "1", "--set=stats:exit"): ("limit:1T,stats:exit|1|",
                                                {"BUDDYMALLOC_CONF": "limit:1T",
                                                 "MALLOC_PERTURB_": "7"}),
        ("--huge-pages",): ("huge_pages:on|7|", {"MALLOC_PERTURB_": "7"}),
    }
    for arguments, (wanted, settings) in expected.items():
        status, output, error = launcher.run(*arguments, *PRINT_SETTINGS, **settings)
        expect(status == 0 and output.startswith(wanted) and SUMMARY not in error,
               arguments, settings, status, output, error)
    _, output, _ = launcher.run("--stats", *PRINT_SETTINGS)
    expect(re.fullmatch(r"stats:exit=(\d+)\|\|\1\n", output), "--stats", output)


def check_preload(launcher):
    """What the caller preloads stays, behind the library."""
    _, alone, _ = launcher.run("sh", "-c", 'echo "$LD_PRELOAD"')
    expect("libbuddymalloc-override.so" in alone, "LD_PRELOAD", alone)
    _, both, _ = launcher.run("sh", "-c", 'echo "$LD_PRELOAD"', LD_PRELOAD="libm.so.6")
    expect(both == f"{alone.strip()}:libm.so.6\n", "LD_PRELOAD", both)


def check_hardened(launcher):
    """The other library, which is there if the build was asked for it."""
    _, library, _ = launcher.run("sh", "-c", 'echo "$LD_PRELOAD"')
    hardened = library.strip().replace("override", "override-hardened")
    status, output, error = launcher.run("--hardened", "--stats", "sh", "-c",
                                         'echo "$LD_PRELOAD"; exec sort')
    if os.path.exists(hardened):
        expect(output == f"{hardened}\n" and SUMMARY in error, "--hardened", output, error)
    else:
        expect(status == 1 and error == f"buddymalloc: {hardened} is missing\n", status, error)


def check_refusals(launcher):
    with tempfile.NamedTemporaryFile() as file:
        refused = [
            (2, "which program", []),
            (2, "--nonsense", ["--nonsense", "sort"]),
            (2, "-x", ["-x"]),
            (2, "needs a value", ["--limit"]),
            (127, "no-such-program", ["no-such-program"]),
            # Neither what a shell does itself nor a function of the script is a program.
            (127, "export", ["export"]),
            (127, "usage", ["usage"]),
            (127, "/no/such/program", ["--stats", "/no/such/program"]),
            (126, file.name, [file.name]),
            (126, "/usr", ["/usr"]),
        ]
        for option, values in {
            "--limit": ["", "0", "00K", "5X", "K", "-1", "1 G", "1G,stats:exit"],
            "--purge-delay": ["", "-2", "1s", "--1"],
            "--perturb": ["", "256", "-1", "x", "99999999999999999999"],
            "--set": ["", "limit", ":5", "limit:1G,stats:exit"],
        }.items():
            refused += [(2, option, [option, value, "sort"]) for value in values]
            refused += [(2, option, [f"{option}={value}", "sort"]) for value in values]
        for wanted, word, arguments in refused:
            status, output, error = launcher.run(*arguments)
            expect(status == wanted and output == "" and word in error and
                   re.fullmatch("buddymalloc: .*\n", error), arguments, status, output, error)


def check_help(launcher, options_c):
    status, output, error = launcher.run("--version")
    expect(status == 0 and re.fullmatch(r"buddymalloc \d+\.\d+\.\d+\n", output) and not error,
           "--version", output, error)
    status, output, error = launcher.run("--help")
    expect(status == 0 and output.startswith("usage: buddymalloc ") and not error, "--help", error)
    names = re.findall(r'^    \{"(\w+)", set_\w+,', pathlib.Path(options_c).read_text(), re.M)
    expect(len(names) >= 5, "no table of options found", options_c)
    for name in names:
        option = name.replace("_", "-")
        is_there = f"--{option} " in output or f"--no-{option} " in output
        expect(is_there, name, "is no option", output)
    for option in set(re.findall(r"^  (--[a-z-]+)", output, re.M)) - {"--help", "--version"}:
        # Known, though it may need a value or a program.
        expect("unknown" not in launcher.run(option)[2], option, "is in --help only")


def main():
    launcher = Command(sys.argv[1])
    check_running(launcher)
    check_settings(launcher)
    check_preload(launcher)
    check_hardened(launcher)
    check_refusals(launcher)
    check_help(launcher, sys.argv[2])


if __name__ == "__main__":
    main()
