#!/usr/bin/env python3
"""exports.py NM VERSION_SCRIPT LIBRARY VERSION: a shared library exports what its script says.

The symbols that NM finds defined in LIBRARY must be exactly the names under `global:` in
VERSION_SCRIPT, each in the version that the script puts it in, and the script must keep all
others local. Where there is one, it is BUDDYMALLOC_VERSION. A name with [..] in it is a pattern for
one symbol.
"""

import fnmatch
import re
import subprocess
import sys

# The C library's programs ask for malloc@GLIBC_2.2.5. The dynamic linker lets a symbol without
# a version answer, but none with a version of another name: then the library is preloaded, and
# never called.
MUST_BE_UNVERSIONED = ("malloc", "free", "calloc", "realloc")


def read_script(path):
    """Name -> version ("" for an anonymous one), for all global names."""
    with open(path, encoding="utf-8") as file:
        text = re.sub(r"/\*.*?\*/|#[^\n]*", "", file.read(), flags=re.DOTALL)
    exports = {}
    has_local_wildcard = False
    for version, body in re.findall(r"([A-Za-z0-9_.]*)\s*\{(.*?)\}[^;]*;", text, re.DOTALL):
        scope = "global"
        for token in re.findall(r"(?:global|local)\s*:|[^\s;]+", body):
            if token.rstrip(": \n\t") in ("global", "local"):
                scope = token.rstrip(": \n\t")
            elif scope == "global":
                exports[token] = version
            elif token == "*":
                has_local_wildcard = True
    if not exports:
        sys.exit(f"{path}: no global names found")
    if not has_local_wildcard:
        sys.exit(f"{path}: `local: *;` is missing")
    return exports


def read_library(nm, path):
    """Name -> version, for all defined dynamic symbols."""
    listing = subprocess.run([nm, "-D", "--defined-only", "--with-symbol-versions", path],
                             capture_output=True, text=True, check=True).stdout
    exports = {}
    for line in listing.splitlines():
        kind, symbol = line.split()[-2:]
        name, _, version = symbol.partition("@")
        if kind != "A":  # the versions themselves are absolute symbols
            exports[name] = version.lstrip("@")
    return exports


def expand_patterns(wanted, found):
    """Each pattern of a script by the one symbol that it stands for; itself if it has none."""
    expanded = {}
    for name, version in wanted.items():
        matches = fnmatch.filter(found, name) if "[" in name else [name]
        expanded[matches[0] if len(matches) == 1 else name] = version
    return expanded


def main():
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    nm, script, library, interface_version = sys.argv[1:]
    wanted = read_script(script)
    found = read_library(nm, library)
    wanted = expand_patterns(wanted, found)
    complaints = [f"not exported: {name}" for name in sorted(wanted.keys() - found.keys())]
    complaints += [f"exported, but not in the script: {name}"
                   for name in sorted(found.keys() - wanted.keys())]
    complaints += [f"{name} has version '{found[name]}', not '{wanted[name]}'"
                   for name in sorted(wanted.keys() & found.keys())
                   if found[name] != wanted[name]]
    complaints += [f"{name} has version '{found[name]}': it can't replace {name}@GLIBC_2.2.5"
                   for name in MUST_BE_UNVERSIONED if found.get(name)]
    complaints += [f"the script's version is {version}, the library's {interface_version}"
                   for version in sorted(set(wanted.values()) - {""})
                   if version != f"BUDDYMALLOC_{interface_version}"]
    if complaints:
        sys.exit(f"{library}:\n" + "\n".join(complaints))


if __name__ == "__main__":
    main()
