#!/usr/bin/env python3
"""consume.py WAY SOURCE_ROOT BUILD_ROOT BACKEND: builds and runs the project beside this file.

subproject: SOURCE_ROOT is its subproject. installed: it finds what `meson install` has put into
a directory of the test's own, by pkg-config.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile


def run(*command, **environment):
    result = subprocess.run([str(word) for word in command], env={**os.environ, **environment},
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            check=False)
    if result.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{result.stdout}status {result.returncode}")
    return result.stdout


def consume_subproject(project, source_root, backend):
    (project / "subprojects").mkdir()
    (project / "subprojects" / "buddymalloc").symlink_to(source_root)
    # Both names, as the wrap file of a real user provides them.
    (project / "subprojects" / "buddymalloc.wrap").write_text(
        "[wrap-file]\ndirectory = buddymalloc\n\n"
        "[provide]\ndependency_names = buddymalloc, buddymalloc-override\n")
    run("meson", "setup", project / "build", project, f"-Dbuddymalloc:memory_backend={backend}",
        "--wrap-mode=nodownload")
    run("meson", "test", "-C", project / "build")


def consume_installed(project, build_root):
    root = project / "root"
    run("meson", "install", "-C", build_root, "--no-rebuild", "--destdir", root)
    files = list(root.rglob("*.pc"))
    if len(files) != 2:
        sys.exit(f"installed: {files} instead of two .pc files")
    directory = str(files[0].parent)
    run("meson", "setup", project / "build", project, PKG_CONFIG_PATH=directory,
        PKG_CONFIG_SYSROOT_DIR=str(root))
    run("meson", "test", "-C", project / "build", LD_LIBRARY_PATH=str(files[0].parent.parent))


def main():
    way, source_root, build_root, backend = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="buddymalloc-consumer-") as directory:
        project = pathlib.Path(directory) / "project"
        shutil.copytree(pathlib.Path(__file__).parent / "project", project)
        if way == "subproject":
            consume_subproject(project, source_root, backend)
        else:
            consume_installed(project, build_root)


if __name__ == "__main__":
    main()
