"""One run of a real program: where it works, what is preloaded, and how its processes end."""

import os
import pathlib
import shutil
import signal
import subprocess
import tempfile

TAIL_LINES = 40
PATH = "/usr/local/bin:/usr/bin:/bin"


class Skip(Exception):
    """The program can't be run here."""


class Failure(Exception):
    """The program did what it should not."""


def tail(text):
    return "\n".join(text.splitlines()[-TAIL_LINES:])


def name_of_status(status):
    return signal.Signals(-status).name if status < 0 else f"status {status}"


class Session:
    """An empty directory to work in, and a library to preload, or None; backend is the library's
    in both cases, so that both runs are given the same arguments."""

    def __init__(self, work, library, backend, build_root):
        self.work = work
        self.library = library
        self.backend = backend
        self.build_root = build_root
        self.inputs = pathlib.Path(__file__).resolve().parent / "inputs"
        self.environment = {"HOME": str(work), "LC_ALL": "C.UTF-8", "PATH": PATH,
                            "TMPDIR": str(work), "TZ": "UTC"}
        for name in ("BUDDYMALLOC_CONF", "MALLOC_PERTURB_"):
            if name in os.environ:
                self.environment[name] = os.environ[name]
        if library is not None:
            self.environment["LD_PRELOAD"] = str(library)

    def find(self, name):
        """The path of a program, not of one that a version manager puts in front of it."""
        path = shutil.which(name, path=PATH)
        if path is None:
            raise Skip(f"{name} is not installed")
        if self.library is not None:
            self._check_that_it_loads_the_library(path)
        return path

    def _check_that_it_loads_the_library(self, path):
        """The dynamic linker lists what it would load; a static program would be run."""
        environment = {**self.environment, "LD_TRACE_LOADED_OBJECTS": "1"}
        with open(path, "rb") as program:
            if program.read(4) != b"\x7fELF":
                return
        listing = subprocess.run([path], env=environment, stdin=subprocess.DEVNULL, timeout=20,
                                 capture_output=True, text=True, check=False).stdout
        if self.library.name not in listing:
            raise Failure(f"{path} doesn't load {self.library.name}:\n{tail(listing)}")

    def start(self, *command, environment=None, **options):
        """A process of a program; its output is a pipe, its errors are kept."""
        command = [self.find(str(command[0])), *map(str, command[1:])]
        errors = tempfile.TemporaryFile("w+", errors="replace")
        options = {"cwd": self.work, "stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE,
                   "stderr": errors, "text": True, "errors": "replace", **options}
        process = subprocess.Popen(command, env={**self.environment, **(environment or {})},
                                   **options)
        process.kept_errors = errors
        return process

    def finish(self, process, given=None, timeout=200):
        """The output of a process that must end on time, with status 0, and without a message
        of the library."""
        name = " ".join(process.args[:4])
        try:
            output, _ = process.communicate(given, timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
            raise Failure(f"{name}: not at its end after {timeout} s\n{tail(output)}") from None
        with process.kept_errors as file:
            file.seek(0)
            errors = file.read()
        if process.returncode != 0:
            raise Failure(f"{name}: {name_of_status(process.returncode)}\n"
                          f"{tail(output)}\n{tail(errors)}")
        if any(line.startswith("buddymalloc: ") for line in errors.splitlines()):
            raise Failure(f"{name}: the library complains\n{tail(errors)}")
        return output

    def run(self, *command, given=None, timeout=200, **options):
        """The output of a program that must end well."""
        if given is not None:
            options["stdin"] = subprocess.PIPE
        return self.finish(self.start(*command, **options), given, timeout)
