#!/usr/bin/env python3
"""consume.py WAY SOURCE_ROOT BUILD_ROOT BACKEND: builds and runs examples/linking in a new place.

subproject: SOURCE_ROOT is its subproject, with the backend sbrk, and leaves nothing in its prefix.
meson, make, cmake: it finds what `meson install` has put from BUILD_ROOT into a directory of the
test's own; make asks pkg-config. default_library: builds with each value of that option but `both`
are installed, and found by make and cmake. devenv: `meson devenv` preloads. plugin: plugins
of its own, for which it is built as a subproject. Exits with 77, "skipped", where a tool is
missing.
"""

import configparser
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

WRAP = "packaging/buddymalloc.wrap"
SUMMARY = "buddymalloc summary of process"


def run(*command, text=None, **environment):
    """The output of a command, which must succeed."""
    inherited = {key: value for key, value in os.environ.items() if key != "DESTDIR"}
    result = subprocess.run([str(word) for word in command], env={**inherited, **environment},
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            input=text or "", check=False)
    if result.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{result.stdout}status {result.returncode}")
    return result.stdout


def expect(is_so, complaint):
    if not is_so:
        sys.exit(complaint)


def need(tool):
    if shutil.which(tool) is None:
        print(f"{tool} is missing")
        sys.exit(77)


def run_programs(directory, names, **environment):
    """The one that uses buddymalloc by name, and those whose malloc it is."""
    said = run(directory / "prefixed", **environment)
    expect(said.startswith("a block of "), f"prefixed says {said!r}")
    for name in names:
        said = run(directory / name, text="one\nthree\n", BUDDYMALLOC_CONF="stats:exit",
                   **environment)
        expect(said.count("6\n") and said.count(SUMMARY) == 1, f"{name} says {said!r}")


# ---- as a subproject ----

def installed_files(build):
    return json.loads(run("meson", "introspect", "--installed", build))


def add_subproject(project, source_root):
    (project / "subprojects").mkdir()
    (project / "subprojects" / "buddymalloc").symlink_to(source_root)
    shutil.copy(source_root / WRAP, project / "subprojects")


def consume_subproject(project, source_root):
    add_subproject(project, source_root)
    build = project / "build"
    # As distributions build: all features are on, and none of them is a test of a subproject.
    said = run("meson", "setup", build, project, "-Dbuddymalloc:memory_backend=sbrk",
               "--wrap-mode=forcefallback", "--auto-features=enabled")
    expect("memory comes from sbrk" in said, said)
    run("meson", "compile", "-C", build)
    run_programs(build, ["override", "override-static"])

    expect(installed_files(build).keys() == {str(build / "prefixed")},
           f"a subproject installs {installed_files(build)}")
    tests = run("meson", "introspect", "--tests", build)
    expect(json.loads(tests) == [], f"a subproject brings tests along:\n{tests}")
    run("meson", "setup", "--reconfigure", build, project, "-Dbuddymalloc:install=yes")
    expect(any(name.endswith("buddymalloc.h") for name in installed_files(build)),
           f"a subproject that was asked to installs only {installed_files(build)}")


def consume_by_plugin(directory, source_root):
    """Built for plugins, the library has no thread-local data that is set aside at the start."""
    tests = source_root / "tests"
    project = shutil.copytree(tests / "consumer" / "plugin", directory / "plugin")
    for name in ("plugin.c", "plugin_host.c", "check.h", "resident.h"):
        shutil.copy(tests / "preload" / name, project)
    add_subproject(project, source_root)
    build = project / "build"
    run("meson", "setup", build, project, "--wrap-mode=forcefallback")
    run("meson", "compile", "-C", build, "plugin_host", "plugin-goes", "plugin-stays",
        "exporting_host", "exported_to")
    run("meson", "test", "-C", build, "--no-rebuild", MALLOC_PERTURB_="0")
    libraries = [build / "libplugin-stays.so", *build.rglob("libbuddymalloc.so")]
    expect(len(libraries) == 2, f"built: {libraries}")
    for library in libraries:
        expect("STATIC_TLS" not in run("readelf", "--dynamic", library), f"{library}: STATIC_TLS")


# ---- in the build directory ----

def check_devenv(build_root):
    said = run("meson", "devenv", "-C", build_root, "sort", BUDDYMALLOC_CONF="stats:exit")
    expect(SUMMARY in said, f"meson devenv preloads nothing: {said!r}")


# ---- installed ----

def install(source_root, build_root, root):
    """Installs below `root`; the directory that has the libraries."""
    run("meson", "install", "-C", build_root, "--no-rebuild", "--destdir", root)
    files = list(root.rglob("*.pc"))
    wrap = configparser.ConfigParser()
    wrap.read(source_root / WRAP)
    names = wrap["provide"]["dependency_names"].split(", ")
    expect({"buddymalloc", "buddymalloc-override"} <= {file.stem for file in files} <= set(names),
           f"pkg-config files {files}, but dependencies {names}")
    check_launcher(root)
    return files[0].parent.parent


def check_launcher(root):
    """Where there is one, it preloads a library that is installed."""
    for launcher in root.rglob("bin/buddymalloc"):
        library = re.search(r"^library='/(.*)'$", launcher.read_text(), re.M)
        expect(library and (root / library[1]).exists(), f"the launcher's library: {library}")


def pkg_config(libraries, root):
    return {"PKG_CONFIG_PATH": str(libraries / "pkgconfig"), "PKG_CONFIG_SYSROOT_DIR": str(root)}


def has_static_c_library():
    return os.path.isabs(run("cc", "-print-file-name=libc.a").strip())


def consume_by_meson(project, libraries, root, backend):
    build = project / "build"
    said = run("meson", "setup", build, project, **pkg_config(libraries, root))
    expect(f"memory comes from {backend}" in said, said)
    run("meson", "compile", "-C", build)
    run_programs(build, ["override", "override-static"], LD_LIBRARY_PATH=str(libraries))


def consume_by_make(project, libraries, root):
    names = ["override"] + ["override-fully-static"] * (
        has_static_c_library() and (libraries / "libbuddymalloc-override.a").exists())
    # What distributions pass: a library that nothing refers to is left out.
    run("make", "-C", project, "prefixed", *names, "LDFLAGS=-Wl,--as-needed",
        **pkg_config(libraries, root))
    run_programs(project, names, LD_LIBRARY_PATH=str(libraries))


def consume_by_cmake(project, libraries, backend):
    prefix = libraries
    while not (prefix / "include").exists():
        prefix = prefix.parent
    build = project / "build-cmake"
    said = run("cmake", "-S", project, "-B", build, f"-DCMAKE_PREFIX_PATH={prefix}",
               "-DCMAKE_EXE_LINKER_FLAGS=-Wl,--as-needed",
               f"-DCMAKE_LIBRARY_ARCHITECTURE={libraries.name}")
    expect(f"memory comes from {backend}" in said, said)
    run("cmake", "--build", build)
    has_static = (libraries / "libbuddymalloc-override.a").exists()
    run_programs(build, ["override"] + ["override-static"] * has_static)


def check_cmake_version(libraries):
    """Which versions a program may ask for and be given the one that is installed."""
    installed = run("cmake", "-DNAME=VERSION", *cmake_version(libraries, "0")).split()[-1]
    major, minor, patch = installed.split(".")
    for wanted, is_given in {
        installed: True,
        f"{major}.{minor}": True,
        f"{major}.{minor}.{int(patch) + 1}": False,
        f"{major}.{int(minor) + 1}": False,
        f"{int(major) + 1}.0": False,
        "0.0": False,  # each minor version before 1.0.0 is a series of its own
    }.items():
        said = run("cmake", "-DNAME=VERSION_COMPATIBLE", *cmake_version(libraries, wanted))
        expect((said.strip() == "TRUE") == is_given, f"CMake: {wanted} of {installed}: {said}")


def cmake_version(libraries, wanted):
    """Arguments of cmake: what the version file says of a version, PACKAGE_${NAME}."""
    script = libraries / "ask.cmake"
    script.write_text("include(${FILE})\nexecute_process(COMMAND echo ${PACKAGE_${NAME}})\n")
    numbers = (wanted + ".0").split(".")
    return [f"-DFILE={libraries}/cmake/buddymalloc/buddymalloc-config-version.cmake",
            f"-DPACKAGE_FIND_VERSION={wanted}", f"-DPACKAGE_FIND_VERSION_MAJOR={numbers[0]}",
            f"-DPACKAGE_FIND_VERSION_MINOR={numbers[1]}", "-P", script]


def check_kinds(value, libraries, root):
    """Only libraries of the kind that was asked for, and no launcher that could preload none."""
    endings = {"".join(path.suffixes)[:3] for path in libraries.glob("libbuddymalloc*")}
    expect(endings == {".so" if value == "shared" else ".a"}, f"{value}: installed {endings}")
    launchers = list(root.rglob("bin/buddymalloc"))
    expect(len(launchers) == (value == "shared"), f"{value}: launchers {launchers}")


def consume_each_kind(directory, source_root, backend):
    """One build directory: what default_library changes is what is installed."""
    build = directory / "library"
    run("meson", "setup", build, source_root, "-Dtests=disabled", "--buildtype=debug",
        f"-Dmemory_backend={backend}")
    for value in ("static", "shared"):
        root = directory / value
        run("meson", "configure", build, f"-Ddefault_library={value}")
        run("meson", "compile", "-C", build)
        project = shutil.copytree(source_root / "examples" / "linking", root / "linking")
        libraries = install(source_root, build, root)
        check_kinds(value, libraries, root)
        consume_by_make(project, libraries, root)
        if value == "static":  # the targets that are the shared libraries elsewhere
            consume_by_cmake(project, libraries, backend)


def main():
    way, source_root, build_root, backend = sys.argv[1:]
    source_root = pathlib.Path(source_root)
    tools = {"meson": ["pkg-config"], "make": ["make", "pkg-config"], "cmake": ["cmake"],
             "default_library": ["make", "pkg-config", "cmake"], "plugin": ["readelf"]}
    for tool in tools.get(way, []):
        need(tool)
    with tempfile.TemporaryDirectory(prefix="buddymalloc-consumer-") as directory:
        directory = pathlib.Path(directory)
        if way == "devenv":
            check_devenv(build_root)
            return
        if way == "plugin":
            consume_by_plugin(directory, source_root)
            return
        if way == "default_library":
            consume_each_kind(directory, source_root, backend)
            return
        project = shutil.copytree(source_root / "examples" / "linking", directory / "linking")
        if way == "subproject":
            consume_subproject(project, source_root)
            return
        # CMake, and no other, takes a name with a space.
        root = directory / ("the root" if way == "cmake" else "root")
        libraries = install(source_root, build_root, root)
        if way == "meson":
            consume_by_meson(project, libraries, root, backend)
        elif way == "make":
            consume_by_make(project, libraries, root)
        else:
            consume_by_cmake(project, libraries, backend)
            check_cmake_version(libraries)


if __name__ == "__main__":
    main()
