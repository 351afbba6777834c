# Shared by the tools of this folder; sourced, not run.
#
# Sets project_root, and gives:
#   say, die                      messages, on standard error
#   install_missing NEED...       what a tool needs and the machine lacks, by apt-get
#   build NAME CC [OPTION...]     configures and compiles build/NAME; CC may be a cross file
#   build_to_measure NAME         the release and the workloads of bench/, held until the tool ends
#   answer_early PROGRAM [ARGUMENT...]
#                                 ends the tool where bench/PROGRAM.py needs no build to answer
#   require_files_of_git [OPTION...]
#                                 ends the tool where git knows no files of the project
# shellcheck shell=bash

project_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
}

die() {
    say "$1"
    exit "${2:-1}"
}

# The Debian package that has a command or a file; nothing when this list doesn't know it.
package_of() {
    case $1 in
        clang | cmake | gcc | git | meson | perl | python3 | redis-server | sqlite3) echo "$1" ;;
        stress-ng | valgrind | ffmpeg | gdb | make | memcached | nginx | ruby | vim) echo "$1" ;;
        fish | lintian | mandoc | zsh) echo "$1" ;;
        cppcheck | gcovr | shellcheck | spin) echo "$1" ;;
        gcc-* | g++* | clang-*) echo "$1" ;;
        clang++) echo clang ;;
        afl-*) echo afl++ ;;
        aarch64-linux-gnu-gcc) echo gcc-aarch64-linux-gnu ;;
        aarch64-linux-gnu-g++) echo g++-aarch64-linux-gnu ;;
        i686-linux-gnu-gcc) echo gcc-i686-linux-gnu ;;
        i686-linux-gnu-g++) echo g++-i686-linux-gnu ;;
        ld | nm | objdump | readelf) echo binutils ;;
        mysqld | mariadbd) echo mariadb-server ;;
        musl-gcc) echo musl-tools ;;
        ninja) echo ninja-build ;;
        node) echo nodejs ;;
        pkg-config) echo pkgconf ;;
        postgres) echo postgresql ;;
        qemu-*-static) echo qemu-user-static ;;
        redis-benchmark | redis-cli) echo redis-tools ;;
        /usr/aarch64-linux-gnu/include/stdlib.h) echo libc6-dev-arm64-cross ;;
        /lib/ld-linux.so.2) echo libc6-i386 ;;
        /usr/bin/python3) echo python3 ;;
        /usr/include/criterion/criterion.h) echo libcriterion-dev ;;
        /usr/include/stdlib.h) echo libc6-dev ;;
        /usr/i686-linux-gnu/include/stdlib.h) echo libc6-dev-i386-cross ;;
        /usr/lib32/libstdc++.so.6) echo lib32stdc++6 ;;
    esac
}

can_be_root() {
    [ "$(id -u)" -eq 0 ] || type -P sudo >/dev/null
}

# Runs a command as root, if can_be_root.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

# Installs packages; keeps those that bring a service (redis-server) from starting it, by the
# file that Debian's packages ask. In a subshell, so that the file goes however this ends.
install_packages() (
    policy=/usr/sbin/policy-rc.d
    # Another apt-get may be at work, as one is by itself in a machine that has just begun.
    apt=(env DEBIAN_FRONTEND=noninteractive apt-get -y -o DPkg::Lock::Timeout=300)
    quietly as_root "${apt[@]}" update || exit
    if [ ! -e "$policy" ]; then
        trap 'as_root rm -f "$policy"' EXIT
        trap 'exit 130' INT TERM HUP
        as_root install -m 755 /dev/stdin "$policy" <<<$'#!/bin/sh\nexit 101' || exit
    fi
    quietly as_root "${apt[@]}" --no-install-recommends install "$@"
)

# Installs what is missing. A NEED is a command or a file that package_of knows, or
# `COMMAND-OR-FILE=PACKAGE`.
install_missing() {
    local need thing package packages=()
    for need in "$@"; do
        thing=${need%%=*}
        [[ $thing = /* && -e $thing ]] && continue
        [[ $thing != /* ]] && type -P "$thing" >/dev/null && continue
        package=${need#*=}
        [[ $need = *=* ]] || package=$(package_of "$thing")
        [ -n "$package" ] || die "no package is known for $thing"
        packages+=("$package")
    done
    [ ${#packages[@]} -gt 0 ] || return 0
    type -P apt-get >/dev/null || die "missing, and there is no apt-get to install: ${packages[*]}"
    can_be_root || die "missing, and to install it you must be root or have sudo: ${packages[*]}"
    say "installing ${packages[*]}"
    install_packages "${packages[@]}" || die "couldn't install ${packages[*]}"
}

# Runs a command quietly; its whole output is shown when it fails.
quietly() {
    local log status=0
    log=$(mktemp)
    "$@" </dev/null >"$log" 2>&1 || status=$?
    [ "$status" -eq 0 ] || cat "$log" >&2
    rm -f "$log"
    return "$status"
}

# The C++ compiler that goes with a C compiler.
cpp_of() {
    case $1 in
        *clang*) echo "${1/clang/clang++}" ;;
        *) echo "${1/gcc/g++}" ;;
    esac
}

configure() {
    local directory=$1 compiler=$2 wanted
    shift 2
    wanted="$project_root: $compiler $*"
    if [[ $compiler = *.ini ]]; then
        set -- --cross-file "$project_root/$compiler" "$@"
        compiler=gcc # for this machine
    fi
    if [ -f "$directory/build.ninja" ] &&
        [ "$(cat "$directory/configured-as" 2>/dev/null)" = "$wanted" ]; then
        return 0
    fi
    rm -rf "$directory"
    # Flags of the environment would stay in the build for good, and be part of what is measured.
    quietly env -u CFLAGS -u CXXFLAGS -u CPPFLAGS -u LDFLAGS \
        CC="$compiler" CXX="$(cpp_of "$compiler")" \
        meson setup -Dwerror=true "$directory" "$project_root" "$@" || return
    printf '%s\n' "$wanted" >"$directory/configured-as"
}

is_up_to_date() {
    ninja -C "$1" -n 2>/dev/null | grep -q 'no work to do'
}

# Configures build/NAME with a compiler and Meson options, anew if they have changed, and
# compiles it. Two at a time wait for one another. Silent but for one line if there is work to
# do; the full log when it fails.
build() {
    local name=$1 directory=$project_root/build/$1
    shift
    mkdir -p "$project_root/build"
    (
        flock 9
        if configure "$directory" "$@" && is_up_to_date "$directory"; then
            exit 0
        fi
        [ -f "$directory/configured-as" ] || exit 1
        say "building build/$name"
        quietly ninja --quiet -C "$directory"
    ) 9>"$project_root/build/.$name.lock"
}

# Builds a release and the workloads of bench/ in build/NAME. Nobody else may do so before this
# process has ended, also when it has become another program by exec: what is measured would be
# replaced meanwhile. Python hands the lock's descriptor to no process that it starts.
build_to_measure() {
    local name=$1
    mkdir -p "$project_root/build"
    exec 8>"$project_root/build/.$name.measured.lock"
    flock --nonblock 8 ||
        die "another tool measures what is in build/$name; wait until it ends"
    build "$name" gcc --buildtype=release -Dtests=disabled
    quietly ninja -C "$project_root/build/$name" bench-programs
}

# What a Python program of bench/ says to --list and --help, and to arguments that it refuses: that
# takes no build, and nothing but Python. Comes back with arguments that are right.
answer_early() {
    local command=(/usr/bin/python3 "$project_root/bench/$1.py" --build "$project_root/build")
    shift
    install_missing /usr/bin/python3
    export PYTHONDONTWRITEBYTECODE=1
    [[ ! " $* " =~ \ (--list|--help|-h)\  ]] || exec "${command[@]}" "$@"
    "${command[@]}" --check-arguments "$@" || exit
}

# Options are those of git ls-files. What git has to say itself comes before.
require_files_of_git() {
    [ -n "$(git -C "$project_root" ls-files "$@")" ] ||
        die "git lists no files in $project_root: this needs a clone, and that git trusts its owner"
}
