"""allocators: who is compared, and the environment a measured program gets."""

import os
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
