#!/usr/bin/env python3
"""headers.py SOURCE_ROOT COMPILER...: every header compiles alone, and twice in a row.

Those in src/ as the project compiles them, those in include/ as users may: as C11 and C99 without
extensions and as C++11, those for C++ as C++17 too. Exits with 77, "skipped", when COMPILER has no
C++ and all else passes.
"""

import pathlib
import subprocess
import sys

WARNINGS = ["-Wall", "-Wextra", "-Werror", "-Wundef", "-Wstrict-prototypes"]
CPP_WARNINGS = ["-Wall", "-Wextra", "-Werror", "-Wundef", "-Wshadow"]
INTERNAL = ["-x", "c", "-std=gnu11", "-D_GNU_SOURCE", "-DBM_STRUCTURE_CHECKS=0",
            "-DBM_OVERRIDE=0", "-DBM_MEMCHECK=0", "-Wno-unused-function", *WARNINGS]
C11 = ["-x", "c", "-std=c11", "-pedantic", *WARNINGS]
C99 = ["-x", "c", "-std=c99", "-pedantic", *WARNINGS]
CPP11 = ["-x", "c++", "-std=c++11", "-pedantic", *CPP_WARNINGS]
CPP17 = ["-x", "c++", "-std=c++17", "-pedantic", *CPP_WARNINGS]


def compile_text(compiler, arguments, text):
    """What the compiler says of the text, "" when it accepts it."""
    run = subprocess.run([*compiler, *arguments, "-fsyntax-only", "-"], input=text,
                         capture_output=True, text=True, check=False)
    return run.stderr or "no message" if run.returncode != 0 else ""


def compile_headers(compiler, arguments, folder, pattern="*.h"):
    """Compiles each header below `folder` by its path from there; the complaints."""
    headers = sorted(folder.rglob(pattern))
    if not headers:
        sys.exit(f"{folder}: no headers")
    complaints = []
    for header in headers:
        name = header.relative_to(folder)
        include = f'#include "{name}"\n'
        said = compile_text(compiler, [*arguments, f"-I{folder}"], include + include)
        if said:
            complaints.append(f"{name} ({' '.join(arguments[1:3])}):\n{said}")
    return complaints


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    root = pathlib.Path(sys.argv[1])
    compiler = sys.argv[2:]
    public = root / "include"
    has_cpp = compile_text(compiler, CPP11, "class empty {};\n") == ""

    complaints = compile_headers(compiler, [*INTERNAL, f"-I{public}"], root / "src")
    for standard in (C11, C99):
        complaints += compile_headers(compiler, standard, public)
    if has_cpp:
        complaints += compile_headers(compiler, CPP11, public)
    # A C++ compiler may come without a library (musl-gcc).
    if has_cpp and compile_text(compiler, CPP11, "#include <cstddef>\n") == "":
        for standard in (CPP11, CPP17):
            complaints += compile_headers(compiler, standard, public, "*.hpp")
    if complaints:
        sys.exit("\n".join(complaints))
    if not has_cpp:
        print("no C++ compiler: headers not compiled as C++")
        sys.exit(77)


if __name__ == "__main__":
    main()
