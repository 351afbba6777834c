"""callgrind: instruction counts of single calls of malloc and free.

The program hit_path sends every call through measured_malloc or measured_free, and callgrind
writes its counters after each return from these two. What such a dump says about the call inside
(its inclusive cost) is the exact number of instructions of that one call, whatever the allocator
calls its functions. So the calls that hit can be told from those that refill: in the list of all
calls the hit path is the most common count, the mean is what a call costs with all refills.
"""

import os
import re
import subprocess
import tempfile
from collections import Counter
from statistics import mean

from allocators import clean_environment

MEASURED = {"measured_malloc": "malloc", "measured_free": "free"}


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

    @property
    def lowest(self):
        return min(self.counts)

    @property
    def highest(self):
        return max(self.counts)

    def as_dict(self):
        return {"hit": self.hit, "hit_share": round(self.hit_share, 4),
                "mean": round(self.mean, 2), "lowest": self.lowest, "highest": self.highest,
                "calls": len(self.counts)}


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
            current = MEASURED.get(line[3:].strip())
        elif line.startswith("calls="):
            if current is not None and not re.match(r"calls=1\b", line):
                raise CallgrindError(f"more than one call in a dump: {line.strip()}")
            is_cost_of_call = True


def count_calls(hit_path, library, pattern, size, count):
    """Runs hit_path under callgrind; returns {"malloc": CallCounts, "free": CallCounts}.

    `library` is the path to preload, None for glibc's malloc; `pattern` is hit_path's mode.
    """
    environment = clean_environment(library)
    environment["LD_BIND_NOW"] = "1"  # else the first call would count the dynamic linker's work
    with tempfile.TemporaryDirectory(prefix="buddymalloc-callgrind-") as directory:
        profile = os.path.join(directory, "profile")
        command = ["valgrind", "--tool=callgrind", "--quiet", "--combine-dumps=yes",
                   "--compress-strings=no", "--compress-pos=no",
                   f"--callgrind-out-file={profile}",
                   *(f"--dump-after={name}" for name in MEASURED),
                   str(hit_path), pattern, str(size), str(count)]
        result = subprocess.run(command, env=environment, capture_output=True, text=True,
                                timeout=300, check=False)
        if result.returncode != 0:
            raise CallgrindError(f"{' '.join(command)}: status {result.returncode}: "
                                 f"{result.stderr.strip()[-400:]}")
        calls = {"malloc": [], "free": []}
        with open(profile, encoding="utf-8") as lines:
            for function, instructions in parse_profile(lines):
                calls[function].append(instructions)
    expected = {"malloc": count, "free": 0 if pattern == "malloc" else count}
    for function, counts in calls.items():
        if len(counts) != expected[function]:
            raise CallgrindError(f"{len(counts)} calls of {function} in the profile, "
                                 f"{expected[function]} made")
    return {function: CallCounts(counts) for function, counts in calls.items() if counts}
