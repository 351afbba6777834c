#!/usr/bin/env python3
"""completions.py SHELL LAUNCHER OPTIONS_C: what the command buddymalloc is completed to.

SHELL is bash, zsh or fish. All options of --help and all options of the table in OPTIONS_C must be
offered; in bash and fish the completion is run. Exits with 77, "skipped", where SHELL is missing.
"""

import pathlib
import re
import shutil
import subprocess
import sys

FOLDER = pathlib.Path(__file__).parents[2] / "packaging" / "launcher"
FILES = {"bash": "buddymalloc.bash", "zsh": "_buddymalloc", "fish": "buddymalloc.fish"}

# Words so far, the last of which is to be completed -> what is offered; readline has cut them.
BASH = {
    ("--s",): {"--stats", "--set"},
    ("--ha",): {"--hardened"},
    ("--limit", "5M", "--hu"): {"--huge-pages"},
    ("--limit", "=", "5M", "--hu"): {"--huge-pages"},
    ("--set", "hu"): {"huge_pages:on", "huge_pages:off"},
    ("--set", "huge_pages", ":"): {"on", "off"},
    ("--set", "huge_pages", ":", "of"): {"off"},
    ("--set", "huge_pages", ":", "of", "--ver"): {"--version"},
    ("--set", "=", "huge_pages", ":", "of", "--ver"): {"--version"},
    ("--limit", ""): set(),
    ("--limit", "2"): set(),
    ("--", "--st"): set(),
    ("mkfif",): {"mkfifo"},
    ("--", "mkfif"): {"mkfifo"},
    ("--limit", "2G", "mkfif"): {"mkfifo"},
    ("sort", "buddymalloc.ba"): {"buddymalloc.bash"},
    ("--stats", "sort", "--st"): set(),
}
BASH_OFFSET = {("--limit", "=", "5M", "sort", "x"): "4", ("--", "sort", "-x", "y"): "2"}

FISH = {
    "--ver": {"--version"},
    "--set hu": {"huge_pages:on", "huge_pages:off"},
    "--limit 5M mkfif": {"mkfifo"},
}


def expect(is_so, *what):
    if not is_so:
        sys.exit(" ".join(map(repr, what)))


def run(*command):
    return subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=True).stdout


def complete_in_bash(words, before=""):
    script = (f"{before}\nsource {FILES['bash']}; COMP_WORDS=(buddymalloc \"$@\"); COMP_CWORD=$#; "
              "_buddymalloc; printf '%s\\n' \"${COMPREPLY[@]}\"")
    return set(run("bash", "--norc", "-uc", script, "bash", *words).split())


def check_bash():
    for words, wanted in BASH.items():
        found = complete_in_bash(words)
        expect(found == wanted, words, "is completed to", found)
    # Where bash-completion is, the rest of the line is the program's own.
    for words, wanted in BASH_OFFSET.items():
        found = complete_in_bash(words, before='_command_offset() { COMPREPLY=("$1"); }')
        expect(found == {wanted}, words, "leaves to the program", found)


def check_zsh():
    run("zsh", "-n", FILES["zsh"])
    expect(pathlib.Path(FOLDER / FILES["zsh"]).read_text().startswith("#compdef buddymalloc\n"),
           "zsh doesn't find it")


def check_fish():
    for line, wanted in FISH.items():
        said = run("fish", "--no-config", "-c",
                   f"source {FILES['fish']}; complete -C 'buddymalloc {line}'")
        found = {offered.split("\t")[0] for offered in said.splitlines()}
        expect(found == wanted, line, "is completed to", found)


def check_names(shell, launcher, options_c):
    text = (FOLDER / FILES[shell]).read_text()
    for option in re.findall(r"^  (--[a-z-]+)", run(launcher, "--help"), re.M):
        word = f"-l {option[2:]}" if shell == "fish" else option
        expect(re.search(rf"{word}(?![a-z-])", text), option, "is missing")
    table = pathlib.Path(options_c).read_text()
    for name in re.findall(r'^    \{"(\w+)", set_\w+\},$', table, re.M):
        expect(re.search(rf"\b{name}\b", text), name, "is missing")


def main():
    shell, launcher, options_c = sys.argv[1:]
    check_names(shell, launcher, options_c)
    if shutil.which(shell) is None:
        print(f"{shell} is missing: not run")
        sys.exit(77)
    {"bash": check_bash, "zsh": check_zsh, "fish": check_fish}[shell]()


if __name__ == "__main__":
    main()
