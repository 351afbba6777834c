"""timeline: how a program's memory went over time: the marks that it printed itself, and the
samples that `measure` took.

A timeline is a dict of JSON: `live`, the marks of the live size; `phases`, those marks of them that
end a phase, with the exact RSS; `samples`, the RSS by the kernel's counters. Times are milliseconds
from the start of the process.
"""

LIVE = b"live"
PHASE = b"phase"
SAMPLE = b"sample"


def separate(output, start_ns):
    """What the program printed beside, and the timeline."""
    printed = []
    live = {"ms": [], "bytes": []}
    phases = []
    samples = {"ms": [], "rss_kib": []}
    for line in output.splitlines(keepends=True):
        kind, _, rest = line.partition(b" ")
        if kind not in (LIVE, PHASE, SAMPLE):
            printed.append(line)
            continue
        rest = rest.split(maxsplit=3)
        milliseconds = round((int(rest[0]) - start_ns) / 1e6, 1)
        if kind == SAMPLE:
            samples["ms"].append(milliseconds)
            samples["rss_kib"].append(int(rest[1]))
            continue
        live["ms"].append(milliseconds)
        live["bytes"].append(int(rest[1]))
        if kind == PHASE:
            phases.append({"name": rest[3].decode().strip(), "ms": milliseconds,
                           "live_bytes": int(rest[1]), "rss_kib": int(rest[2])})
    return b"".join(printed), {"live": live, "phases": phases, "samples": samples}
