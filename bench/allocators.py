"""allocators: who is compared, and the environment a measured program gets."""

import argparse
import hashlib
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

# Name, shared library, and its Debian package: those that replace malloc when preloaded.
PEERS = [
    ("jemalloc", "libjemalloc.so.2", "libjemalloc2"),
    ("mimalloc", "libmimalloc.so.2.0", "libmimalloc2.0"),
    ("tcmalloc", "libtcmalloc_minimal.so.4", "libtcmalloc-minimal4"),
    ("tbbmalloc", "libtbbmalloc_proxy.so.2", "libtbbmalloc2"),
]

PROOF_SECONDS = 60  # for a program that ends at once

OURS = "buddymalloc"
REFERENCE = "glibc"


@dataclass(frozen=True)
class Allocator:
    """A malloc to measure; library is None for the C library's own."""

    name: str
    library: Optional[str]


def find_library(file_name):
    """The path of a library in the system's directories, or None."""
    machine = os.uname().machine
    for directory in (f"/usr/lib/{machine}-linux-gnu", "/usr/lib64", "/usr/lib",
                      "/usr/local/lib"):
        path = Path(directory) / file_name
        if path.exists():
            return str(path)
    return None


def installed_peers():
    """glibc and those of PEERS that are on this machine, and the packages of the missing."""
    found = [Allocator(REFERENCE, None)]
    missing = []
    for name, file_name, package in PEERS:
        library = find_library(file_name)
        if library is None:
            missing.append(package)
        else:
            found.append(Allocator(name, library))
    return found, missing


def clean_environment(library=None):
    """An environment that no allocator reads anything from.

    `meson test` sets MALLOC_PERTURB_, users set MALLOC_CONF, GLIBC_TUNABLES and the like: each
    of them changes what is measured.
    """
    environment = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C"}
    if library is not None:
        environment["LD_PRELOAD"] = str(library)
    return environment


class AllocatorError(Exception):
    """A library that was asked for can't be measured."""


def fingerprints(allocators):
    """{name: SHA-256 of the library's file, None where there is no such file}."""
    result = {}
    for one in allocators:
        library = one.library or find_library("libc.so.6")
        try:
            result[one.name] = hashlib.sha256(Path(library or "").read_bytes()).hexdigest()
        except OSError:
            result[one.name] = None
    return result


def require_unchanged(allocators, before):
    """Raises AllocatorError if a library isn't any more what it was, by its fingerprint."""
    now = fingerprints(allocators)
    changed = [one.library or one.name for one in allocators if now[one.name] != before[one.name]]
    if changed:
        raise AllocatorError("replaced while it was measured, so nothing is reported: "
                             f"{', '.join(changed)}")


def add_options(parser):
    """The command-line options from which choose_allocators chooses, beside `build`.

    And --check-arguments, by which tools/ have arguments refused before they build: the program
    ends once it has looked at them."""
    parser.add_argument("--lib", type=Path, help="our library, instead of the build's")
    parser.add_argument("--peers-only", action="store_true", help="measure without our library")
    parser.add_argument("--add", action="append", default=[], metavar="NAME=PATH",
                        help="a further allocator; may be repeated")
    parser.add_argument("--check-arguments", action="store_true", help=argparse.SUPPRESS)


def added_allocator(text, taken):
    """What one --add names, beside allocators whose names are `taken`: cells go by the name, so
    two libraries of one name would share them; options are split at ',', tables at '|'."""
    name, separator, path = text.partition("=")
    if not separator or not Path(path).is_file():
        raise AllocatorError(f"--add takes NAME=PATH of a library, not '{text}'")
    if not name or "," in name or "|" in name:
        raise AllocatorError(f"--add: a name may not be empty nor have a ',' or '|': '{name}'")
    if name in taken:
        raise AllocatorError(f"--add: there is an allocator '{name}' already")
    return Allocator(name, str(Path(path).resolve()))


def choose_allocators(arguments, programs, names=None):
    """Ours first, then glibc, the peers, and what --add names, or of these only those of `names`;
    each is proved to take effect."""
    allocators, missing = installed_peers()
    if missing:
        print(f"not installed, so not compared: {' '.join(missing)}", file=sys.stderr)
    for text in arguments.add:
        taken = {OURS, *(one.name for one in allocators)}
        allocators.append(added_allocator(text, taken))
    if not arguments.peers_only:
        library = arguments.lib or arguments.build / "src" / "libbuddymalloc-override.so"
        if not library.is_file():
            raise AllocatorError(f"no library at {library}")
        allocators.insert(0, Allocator(OURS, str(library.resolve())))
    chosen = named(allocators, names)
    for allocator in chosen:
        if allocator.library is not None:
            require_malloc(allocator, programs)
    return chosen


def named(allocators, names):
    """Those of the allocators that have one of the names; all for None."""
    unknown = set(names or ()) - {one.name for one in allocators}
    if unknown:
        raise AllocatorError(f"there is no allocator '{', '.join(sorted(unknown))}' here, but "
                             f"{', '.join(one.name for one in allocators)}")
    return [one for one in allocators if names is None or one.name in names]


def require_malloc(allocator, programs):
    """Raises AllocatorError unless the library really takes malloc and free over.

    It may not define them, or define them under a symbol version of its own: then ld.so binds
    the program to glibc's, without a word, and glibc is what would be measured.
    """
    if re.search(r"[:\s]", allocator.library):  # ld.so splits the list there
        raise AllocatorError(f"{allocator.name}: LD_PRELOAD can't hold a path with a space or a "
                             f"colon: '{allocator.library}'")
    environment = clean_environment(allocator.library)
    environment.update(LD_DEBUG="bindings", LD_BIND_NOW="1")
    try:
        bindings = subprocess.run([programs / "hit_path", "pairs", "64", "1"], env=environment,
                                  capture_output=True, text=True, timeout=PROOF_SECONDS,
                                  check=False).stderr
    except subprocess.TimeoutExpired:
        raise AllocatorError(f"{allocator.name}: a program with {allocator.library} preloaded "
                             f"doesn't end within {PROOF_SECONDS} s") from None
    for function in ("malloc", "free"):
        if not re.search(rf"/hit_path \[0\] to {re.escape(allocator.library)} \[0\]: "
                         rf"normal symbol `{function}'", bindings):
            raise AllocatorError(f"{allocator.name}: {allocator.library} doesn't take over "
                                 f"{function}; see LD_DEBUG=bindings")
