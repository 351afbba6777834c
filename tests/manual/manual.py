#!/usr/bin/env python3
"""manual.py SOURCE_ROOT [LAUNCHER]: the manual pages say all that there is, and read well.

Functions of the header, options of the library, of the build and of the command each have an entry.
Exits with 77, "skipped", where neither mandoc nor man is there to look for mistakes of form.
"""

import pathlib
import re
import shutil
import subprocess
import sys


def read(root, name):
    return (root / name).read_text(encoding="utf-8")


def compare(what, source, page):
    """Both must name the same, and something."""
    if not source or source != page:
        sys.exit(f"{what}: only in the source {sorted(source - page)}, "
                 f"only in the page {sorted(page - source)}")


def declared_functions(header):
    """The prototypes of the header: return type, name, parameters."""
    code = re.sub(r"/\*.*?\*/", "", header, flags=re.DOTALL)
    found = re.findall(r"^((?:\w+ )+\**)(buddymalloc_\w+)\(([^)]*)\)[^;{]*;", code, re.M)
    return {(kind.strip(), name, ", ".join(re.split(r",\s*", parameters)))
            for kind, name, parameters in found}


def described_functions(page):
    synopsis = page[page.index(".Sh SYNOPSIS"):page.index(".Sh DESCRIPTION")]
    found = re.findall(r'^\.Ft "?([^"\n]*)"?\n\.Fn (\w+) (.*)$', synopsis, re.M)
    return {(kind, name, ", ".join(re.findall(r'"([^"]*)"', parameters) or [parameters]))
            for kind, name, parameters in found}


def check_functions(root):
    page = read(root, "man/buddymalloc.3")
    declared = declared_functions(read(root, "include/buddymalloc/buddymalloc.h"))
    compare("prototypes", declared, described_functions(page))
    names = {name for _, name, _ in declared}
    compare("NAME", names, set(re.findall(r"^\.Nm (\w+)", page, re.M)))
    described = page[page.index(".Sh DESCRIPTION"):]
    compare("DESCRIPTION", names, set(re.findall(r"^\.Fn (buddymalloc_\w+)", described, re.M)))


def entries(page, section):
    text = page[page.index(f".Sh {section}"):]
    text = text[:text.index("\n.Sh ")]
    return set(re.findall(r"^\.It Cm (\w+)", text, re.M))


def check_options(root):
    page = read(root, "man/buddymalloc.7")
    table = set(re.findall(r'^    \{"(\w+)", set_\w+,', read(root, "src/api/options.c"), re.M))
    compare("BUDDYMALLOC_CONF", table, entries(page, "ENVIRONMENT"))
    build = set(re.findall(r"^option\('(\w+)'", read(root, "meson_options.txt"), re.M))
    compare("build options", build | {"default_library"}, entries(page, "BUILD OPTIONS"))
    variables = set(re.findall(r'secure_getenv\("(\w+)"\)', read(root, "src/api/options.c")))
    compare("variables", variables, set(re.findall(r"^\.It Ev (\w+)", page, re.M)))


def check_command(root, launcher):
    said = subprocess.run([launcher, "--help"], capture_output=True, text=True, check=True).stdout
    page = read(root, "man/buddymalloc.1")
    compare("options of the command", set(re.findall(r"^  -(-[a-z-]+)", said, re.M)),
            set(re.findall(r"^\.It Fl (-[a-z-]+)", page, re.M)))


def check_form(root):
    pages = sorted((root / "man").iterdir())
    if shutil.which("mandoc"):
        command = ["mandoc", "-T", "lint", "-W", "warning"]
    elif shutil.which("man"):
        command = ["man", "--warnings", "--local-file", "--troff-device=utf8"]
    else:
        print("neither mandoc nor man is there")
        sys.exit(77)
    for page in pages:
        ended = subprocess.run([*command, page], capture_output=True, text=True, check=False)
        said = ended.stderr + (ended.stdout if command[0] == "mandoc" else "")
        if ended.returncode != 0 or said:
            sys.exit(f"{page.name}:\n{said}")


def main():
    root = pathlib.Path(sys.argv[1])
    check_functions(root)
    check_options(root)
    if len(sys.argv) > 2:
        check_command(root, sys.argv[2])
    check_form(root)


if __name__ == "__main__":
    main()
