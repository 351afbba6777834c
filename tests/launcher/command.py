"""command: runs a command that runs programs on buddymalloc, and says what was not as expected."""

import os
import subprocess
import sys

SUMMARY = "buddymalloc summary of process"
SET_BY_CALLER = ("BUDDYMALLOC_CONF", "LD_PRELOAD", "MALLOC_PERTURB_")


class Command:
    """Runs the command with exactly the settings given; status, output and error."""

    def __init__(self, path, timeout_s=60):
        self.path = path
        self.timeout_s = timeout_s

    def run(self, *arguments, text_in="", **settings):
        environment = {key: value for key, value in os.environ.items() if key not in SET_BY_CALLER}
        ended = subprocess.run([self.path, *arguments], env={**environment, **settings},
                               capture_output=True, text=True, input=text_in,
                               timeout=self.timeout_s, check=False)
        return ended.returncode, ended.stdout, ended.stderr


def expect(is_so, *what):
    if not is_so:
        sys.exit(" ".join(map(repr, what)))
