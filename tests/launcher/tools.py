#!/usr/bin/env python3
"""tools.py SOURCE_ROOT: what tools say to --help, and to what they refuse, takes no build, no
package but Python's own, and no rights.

They are run with a PATH on which nothing that could be installed, or install, is.
"""

import os
import pathlib
import shutil
import sys
import tempfile

from command import Command, expect

# What a shell script may take for granted.
COMMANDS = ("bash", "cat", "dirname", "readlink")
MODULES = ("matplotlib", "numpy", "scipy", "tqdm")
# A tool, and an argument that it refuses.
TOOLS = {
    "bench": "--bogus", "figures": "--bogus", "misuse-table": "--bogus", "soak": "--bogus",
    "package-deb": "--bogus", "lint": "--bogus", "fuzz": "--bogus", "check-models": "--bogus",
    "coverage": "--bogus", "matrix": "--bogus", "test": "--bogus",
}


def bare_machine(folder):
    """The settings of an environment without compilers, apt-get, sudo and Debian's modules."""
    for name in COMMANDS:
        pathlib.Path(folder, name).symlink_to(shutil.which(name))
    for name in MODULES:
        pathlib.Path(folder, f"{name}.py").write_text("raise ImportError\n", encoding="ascii")
    return {"PATH": folder, "PYTHONPATH": folder}


def main():
    tools = pathlib.Path(sys.argv[1], "tools")
    with tempfile.TemporaryDirectory() as folder:
        bare = bare_machine(folder)
        for name, refused in TOOLS.items():
            tool = Command(tools / name)
            status, output, error = tool.run("--help", **bare)
            expect(status == 0 and output.startswith("usage: ") and not error,
                   name, status, output, error)
            status, output, error = tool.run(refused, **bare)
            expect(status == 2 and refused in error and not output, name, status, output, error)
        status, output, error = Command(tools / "bench").run("--list", **bare)
        expect(status == 0 and "larson" in output and not error, "--list", status, output, error)
        # As in what was unpacked from a tarball. They ask git before anything is installed.
        for name in ("lint", "package-deb") if shutil.which("git") else ():
            status, output, error = Command(tools / name).run(GIT_DIR=os.devnull)
            expect(status == 1 and "git lists no files" in error, name, status, output, error)


if __name__ == "__main__":
    main()
