"""callgrind: instruction counts of single calls of malloc and its like, and of the buddy tree.

The programs hit_path and tree_calls send every call of a function through measured_FUNCTION, and
callgrind writes its counters after each return from there. What such a dump says about the call
inside (its inclusive cost) is the exact number of instructions of that one call, whatever the
allocator calls its functions. So the calls that hit can be told from those that refill: in the
list of all calls the hit path is the most common count, the mean is what a call costs with all
refills.
"""

import os
import re
import subprocess
import tempfile
from collections import Counter
from statistics import mean

from allocators import clean_environment

PREFIX = "measured_"
TIMEOUT_SECONDS = 300

# What hit_path measures in each mode.
MEASURED = {"pairs": ("malloc", "free"), "phases": ("malloc", "free"), "calloc": ("calloc",),
            "stay": ("realloc",), "move": ("realloc",), "remote": ("free",),
            "operators": ("new", "delete", "new_aligned", "delete_sized")}
TREE_PATTERNS = ("split", "fit")
TREE_ORDERS = range(11)  # a tree of 1024 leaves

# The C library has a memset and a memcpy for each kind of processor. Without this, a calloc or a
# realloc would count as many instructions as the machine's kind takes.
#
# What the allocator does by the clock would come at other calls in each run, for here a call takes
# some hundred times as long: its purge delay is longer than any run.
SAME_EVERYWHERE = {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-ERMS",
                   "BUDDYMALLOC_CONF": "purge_delay:100000000"}


class CallgrindError(Exception):
    """The program failed under callgrind, or its profile isn't what was expected."""


class CallCounts:
    """The instruction counts of all measured calls of one function, in order."""

    def __init__(self, counts):
        self.counts = counts

    @property
    def hit(self):
        """The most common count; of two equally common ones the higher."""
        frequencies = Counter(self.counts)
        most = max(frequencies.values())
        return max(count for count, times in frequencies.items() if times == most)

    @property
    def hit_share(self):
        """The share of calls that took exactly the hit path."""
        return self.counts.count(self.hit) / len(self.counts)

    @property
    def mean(self):
        return mean(self.counts)


def parse_profile(lines):
    """Yields (function, instructions) for every call that a measured_* function made."""
    current = None
    is_cost_of_call = False
    for line in lines:
        if is_cost_of_call:
            is_cost_of_call = False
            if current is not None:
                yield current, int(line.split()[1])
        elif line.startswith("fn="):
            name = line[3:].strip()
            current = name.removeprefix(PREFIX) if name.startswith(PREFIX) else None
        elif line.startswith("calls="):
            if current is not None and not re.match(r"calls=1\b", line):
                raise CallgrindError(f"more than one call in a dump: {line.strip()}")
            is_cost_of_call = True


def count_calls(command, library):
    """Runs a program under callgrind; returns {function: [instructions of every call]}.

    `library` is the path to preload, None for glibc's malloc.
    """
    environment = {**clean_environment(library), **SAME_EVERYWHERE}
    environment["LD_BIND_NOW"] = "1"  # else the first call would count the dynamic linker's work
    with tempfile.TemporaryDirectory(prefix="buddymalloc-callgrind-") as directory:
        profile = os.path.join(directory, "profile")
        command = ["valgrind", "--tool=callgrind", "--quiet", "--combine-dumps=yes",
                   "--compress-strings=no", "--compress-pos=no",
                   f"--callgrind-out-file={profile}", f"--dump-after={PREFIX}*",
                   *map(str, command)]
        try:
            result = subprocess.run(command, env=environment, capture_output=True, text=True,
                                    timeout=TIMEOUT_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            raise CallgrindError(f"{' '.join(command)}: no end within "
                                 f"{TIMEOUT_SECONDS} s") from None
        if result.returncode != 0:
            raise CallgrindError(f"{' '.join(command)}: status {result.returncode}: "
                                 f"{result.stderr.strip()[-400:]}")
        calls = {}
        with open(profile, encoding="utf-8") as lines:
            for function, instructions in parse_profile(lines):
                calls.setdefault(function, []).append(instructions)
    return calls


def require_counts(calls, functions, count):
    """Raises CallgrindError unless exactly these functions were called, as often as they were."""
    found = {function: len(counts) for function, counts in calls.items()}
    if found != {function: count for function in functions}:
        raise CallgrindError(f"{found} calls in the profile, {count} made of each of "
                             f"{', '.join(functions)}")


def count_hit_path(hit_path, library, mode, size, count):
    """{function: CallCounts} of the program hit_path in one of its modes; see MEASURED."""
    calls = count_calls([hit_path, mode, size, count], library)
    require_counts(calls, MEASURED[mode], count)
    return {function: CallCounts(counts) for function, counts in calls.items()}


def count_tree_calls(tree_calls, pattern):
    """{"allocate": [instructions by order], "release": the same} of the program tree_calls."""
    calls = count_calls([tree_calls, pattern], None)
    require_counts(calls, ("allocate", "release"), len(TREE_ORDERS))
    return calls
