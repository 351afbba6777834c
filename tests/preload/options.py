#!/usr/bin/env python3
"""options.py PROGRAM linked|static|LIBRARY: what environment variables do to a program.

PROGRAM is `idle`, linked with buddymalloc shared or static, or run with LIBRARY preloaded. A
value that makes no sense is named on standard error, in one line, and ignored. In a cross build
the program runs in the emulator that Meson names.
"""

import functools
import os
import pathlib
import re
import resource
import shlex
import shutil
import subprocess
import sys
import tempfile

NOBODY = 65534
OURS_BYTES = 256 << 20
BYTES = "expected bytes above 0, also with a unit K, M, G or T"
REFUSED = {
    "which is no option": ("nonsense:1", "nonsense", ":", "limi:1M", "limits:1M", "x" * 127),
    "expected exit or exit=PID":
        ("stats", "stats:nonsense", "stats:exit=", "stats:exit=0", "stats:exit=x", "stats:exit1"),
    "expected on or off":
        ("huge_pages", "huge_pages:", "huge_pages:yes", "huge_pages:on1", "guard_empty:1",
         "background_purge", "background_purge:maybe"),
    "which only the hardened library has": ("check:exit", "check:off", "check"),
    "expected milliseconds, or -1":
        ("purge_delay:", "purge_delay:x", "purge_delay:-2", "purge_delay:1s",
         "purge_delay:99999999999"),
    BYTES:
        ("limit:", "limit:0", "limit:M", "limit:1X", "limit:-5", "limit:99999999999T",
         "limit:99999999999999999999"),
}
EMULATOR = shlex.split(os.environ.get("MESON_EXE_WRAPPER", ""))


def run(program, library, *arguments, standard_error=subprocess.PIPE, files=None, **settings):
    """What the program prints under these settings, with so many open files at most; it must
    succeed."""
    environment = {key: value for key, value in os.environ.items()
                   if key not in ("MALLOC_PERTURB_", "BUDDYMALLOC_CONF", "LD_PRELOAD")}
    environment.update(settings)
    if library:
        environment["LD_PRELOAD"] = library
    limit = files and (lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files)))
    ended = subprocess.run([*EMULATOR, program, *arguments], env=environment, text=True,
                           stdout=subprocess.PIPE, stderr=standard_error, timeout=60, check=False,
                           preexec_fn=limit)
    if ended.returncode != 0:
        sys.exit(f"{settings}: exit status {ended.returncode}, {ended.stderr!r}")
    return ended.stdout, ended.stderr


def check_silent(program, library, **settings):
    _, said = run(program, library, **settings)
    if said:
        sys.exit(f"{settings}: standard error should be empty: {said!r}")


def check_refused(reason, program, library, said_of=None, **settings):
    """One line that names what is ignored (said_of, if not the whole value), and says why."""
    (name, value), = settings.items()
    _, said = run(program, library, **settings)
    if said != f"buddymalloc: {name}: ignoring '{said_of or value}', {reason}\n":
        sys.exit(f"{settings}: expected one line that ends in {reason!r}: {said!r}")


def check_summary_at_exit(program, library):
    ballast = b"x" * OURS_BYTES
    _, said = run(program, library, BUDDYMALLOC_CONF="stats:exit")
    del ballast
    peak = re.search(r"summary of process \d+:\n  peak resident +([1-9]\d{5,}) bytes\n", said)
    if not peak:
        sys.exit(f"stats:exit: expected a summary with figures: {said!r}")
    # Its own, not that of this process, as it was when the program was executed.
    if int(peak[1]) > OURS_BYTES:
        sys.exit(f"stats:exit: the program has no {peak[1]} bytes")
    # A process that isn't the one that was meant; 1 is never a test's.
    check_silent(program, library, BUDDYMALLOC_CONF="stats:exit=1")
    # The shell itself may be one of another C library: only the program is preloaded.
    preload = ["env", f"LD_PRELOAD={library}"] if library else []
    shell = ["sh", "-c", 'BUDDYMALLOC_CONF=stats:exit=$$ exec "$@"', "sh", *preload, *EMULATOR,
             program]
    said = subprocess.run(shell, capture_output=True, text=True, timeout=60, check=False).stderr
    if "summary of process" not in said:
        sys.exit(f"stats:exit=PID: expected a summary: {said!r}")


def check_summary_goes_to_standard_error(program, library):
    """It goes into no file of the program's, though descriptors are closed and used again; where
    few may be open; and is no reason to end by SIGPIPE."""
    with tempfile.TemporaryDirectory() as folder:
        _, said = run(program, library, folder, BUDDYMALLOC_CONF="stats:exit")
        files = list(pathlib.Path(folder).iterdir())
        if len(files) != 100 or any(file.read_bytes() != b"record\n" for file in files):
            sys.exit("stats:exit: the summary is in a file of the program's")
        if said.count("summary of process") != 1:
            sys.exit(f"stats:exit: expected a summary of a daemon: {said!r}")
    with tempfile.TemporaryDirectory() as folder:
        run(program, library, folder, "early", BUDDYMALLOC_CONF="stats:exit")
        files = list(pathlib.Path(folder).iterdir())
        if len(files) != 100 or any(file.read_bytes() != b"record\n" for file in files):
            sys.exit("stats:exit: the summary is in a file opened before there was a heap")
    _, said = run(program, library, files=40, BUDDYMALLOC_CONF="stats:exit")
    if "summary of process" not in said:
        sys.exit(f"stats:exit: expected a summary with few files: {said!r}")
    reader, writer = os.pipe()
    os.close(reader)
    run(program, library, standard_error=writer, BUDDYMALLOC_CONF="stats:exit")
    os.close(writer)


def check_empty_blocks(program, library):
    """malloc(0) gives what faults when it is written to, or what doesn't."""
    for value, expected in (("on", "faults"), ("off", "writable")):
        output, _ = run(program, library, BUDDYMALLOC_CONF=f"guard_empty:{value}")
        if f"empty {expected}\n" not in output:
            sys.exit(f"guard_empty:{value}: expected that it {expected}: {output!r}")


def check_limits(program, library):
    """The limit is the number, times what its unit stands for. None is too small for the C library
    to start."""
    limits = {"100000000": 100000000, "99999K": 99999 << 10, "64M": 64 << 20, "1G": 1 << 30,
              "64M,limit:96M": 96 << 20}
    if has_64_bits(program):
        limits.update({"4G": 4 << 30, "1T": 1 << 40, "1024T": 1 << 50})
    for value, expected in limits.items():
        output, _ = run(program, library, "limit", BUDDYMALLOC_CONF=f"limit:{value}")
        if output != f"{expected}\n":
            sys.exit(f"limit:{value}: expected a limit of {expected}: {output!r}")


def check_ignored_by_privileged(program):
    """A program with more rights than its caller must not obey the caller's environment."""
    if os.geteuid() != 0:
        return
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        privileged = shutil.copy(program, folder)
        os.chown(privileged, NOBODY, NOBODY)
        os.chmod(privileged, 0o4755)
        output, said = run(privileged, None, BUDDYMALLOC_CONF="stats:exit")
        if output.startswith("secure 1\n") and said:
            sys.exit(f"a setuid program obeys BUDDYMALLOC_CONF: {said!r}")
        _, said = run(privileged, None, BUDDYMALLOC_CONF="nonsense:1")
        if output.startswith("secure 1\n") and said:
            sys.exit(f"a setuid program reads BUDDYMALLOC_CONF: {said!r}")


def has_64_bits(program):
    """By the class of its ELF file."""
    with open(program, "rb") as file:
        return file.read(5)[4] == 2


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    program, form = sys.argv[1:]
    library = None if form in ("linked", "static") else form

    check_silent(program, library)
    check_silent(program, library, MALLOC_PERTURB_="165")
    check_silent(program, library, MALLOC_PERTURB_="0")
    for value in ("banana", "12x", "300", "-1", ""):
        check_refused("expected 0 to 255", program, library, MALLOC_PERTURB_=value)
    for reason, values in REFUSED.items():
        for value in values:
            check_refused(reason, program, library, BUDDYMALLOC_CONF=value)
    check_refused("which is no option", program, library, BUDDYMALLOC_CONF="x" * 128,
                  said_of="x" * 127 + "...")
    for value in ("guard_empty:on", "guard_empty:off", "huge_pages:on", "huge_pages:off",
                  "huge_pages:on,huge_pages:off", "background_purge:on", "background_purge:off",
                  "purge_delay:0", "purge_delay:-1",
                  "purge_delay:2500", "limit:100000000", "limit:64M", "limit:1G,purge_delay:10"):
        check_silent(program, library, BUDDYMALLOC_CONF=value)
    for value in ("limit:4G", "limit:1T", "limit:1024T"):
        check = check_silent if has_64_bits(program) else functools.partial(check_refused, BYTES)
        check(program, library, BUDDYMALLOC_CONF=value)
    check_summary_at_exit(program, library)
    check_summary_goes_to_standard_error(program, library)
    check_empty_blocks(program, library)
    check_limits(program, library)
    if form == "static":  # a copy finds no shared library, and a privileged one preloads none
        check_ignored_by_privileged(program)


if __name__ == "__main__":
    main()
