"""report: what the runs of a comparison say, as numbers and as Markdown.

Every allocator is held against the best peer of each workload: the one of all allocators but ours
with the lowest median. 1.00 means as good as the best of them.
"""

from dataclasses import dataclass

from modules import numpy, stats

WORST_SHOWN = 15
SPREAD_RUNS_MIN = 4  # the interquartile range of fewer says nothing

# A group of its own: below, peak RSS says little but how large the libraries themselves are.
LARGE_HEAP_MIB = 8
LARGE_HEAPS = f"heaps above {LARGE_HEAP_MIB} MiB with the best peer"


@dataclass(frozen=True)
class Metric:
    """Something that is measured of each run; less is better."""

    key: str
    title: str
    file: str
    unit: str
    per_unit: float


PEAK_RSS = Metric("peak_rss_kib", "peak RSS", "rss.svg", "MiB", 1024)
METRICS = (
    Metric("cpu_us", "CPU time", "cpu.svg", "ms", 1e3),
    Metric("wall_ns", "wall time", "wall.svg", "ms", 1e6),
    PEAK_RSS,
)


@dataclass(frozen=True)
class Mean:
    """A geometric mean of ratios, its 95 % interval, of how many cells it is, and of how many it
    isn't: of cells that failed, and of workloads in which all peers did."""

    value: float
    interval: tuple
    count: int
    failed: int
    without_peer: int


class Comparison:
    """The measurements as arrays [workload, allocator]; NaN stands for a failed cell."""

    def __init__(self, measured, ours, is_wanted=lambda workload: True):
        self.measured = measured
        self.ours = ours if ours in measured["allocators"] else None
        self.allocators = list(measured["allocators"])
        self.workloads = [one for one in measured["workloads"] if is_wanted(one)]
        self.names = [one["name"] for one in self.workloads]
        self.groups = list(dict.fromkeys(one["group"] for one in self.workloads))
        self.failures = [(one["name"], allocator, cell["failure"])
                         for one in self.workloads for allocator, cell in one["cells"].items()
                         if cell["failure"]]
        self.peers = [name for name in self.allocators if name != self.ours] or self.allocators

    def per_cell(self, metric, function):
        """function(values of all rounds) for each cell."""
        return numpy.array([
            [function([run[metric.key] for run in one["cells"][name]["runs"]])
             if not one["cells"][name]["failure"] else numpy.nan
             for name in self.allocators] for one in self.workloads])

    def medians(self, metric):
        return self.per_cell(metric, numpy.median) / metric.per_unit

    def spreads(self, metric):
        """The interquartile range of a cell's runs, as a share of their median; NaN for few."""
        return self.per_cell(metric, lambda runs: stats.iqr(runs) / numpy.median(runs)
                             if len(runs) >= SPREAD_RUNS_MIN else numpy.nan)

    def best(self, metric):
        """For each workload the lowest median of a peer, NaN if all failed, and whose it is."""
        columns = [self.allocators.index(name) for name in self.peers]
        medians = self.medians(metric)[:, columns]
        lowest = numpy.where(numpy.isnan(medians), numpy.inf, medians)
        values = lowest.min(axis=1)
        names = [self.peers[column] for column in lowest.argmin(axis=1)]
        return numpy.where(numpy.isinf(values), numpy.nan, values), names

    def ratios(self, metric):
        return self.medians(metric) / self.best(metric)[0][:, None]

    def rows_of(self, group):
        """The numbers of a group's workloads, of all for None."""
        if group == LARGE_HEAPS:
            return [int(row) for row in numpy.flatnonzero(self.best(PEAK_RSS)[0] > LARGE_HEAP_MIB)]
        return [row for row, one in enumerate(self.workloads) if group in (None, one["group"])]

    def mean(self, metric, allocator, group=None):
        """The Mean of an allocator. The interval is by bootstrap over the workloads: it says how
        much the mean owes to their choice."""
        rows = self.rows_of(group)
        column = self.allocators.index(allocator)
        ratios = self.ratios(metric)[rows, column]
        valid = ratios[~numpy.isnan(ratios)]
        failed = int(numpy.isnan(self.medians(metric)[rows, column]).sum())
        without_peer = len(rows) - len(valid) - failed
        if len(valid) == 0:
            return Mean(numpy.nan, (numpy.nan, numpy.nan), 0, failed, without_peer)
        mean = float(stats.gmean(valid))
        interval = (mean, mean)
        if len(valid) > 2 and numpy.ptp(valid) > 0:
            drawn = stats.bootstrap((numpy.log(valid),), numpy.mean, n_resamples=2000,
                                    method="percentile", random_state=1).confidence_interval
            interval = (float(numpy.exp(drawn.low)), float(numpy.exp(drawn.high)))
        return Mean(mean, interval, len(valid), failed, without_peer)

    def worst_of_ours(self, metric):
        """(ratio, workload, ours, best peer, its value), the worst first."""
        column = self.allocators.index(self.ours)
        ratios = self.ratios(metric)[:, column]
        medians = self.medians(metric)[:, column]
        best, best_names = self.best(metric)
        order = [row for row in numpy.argsort(-ratios) if not numpy.isnan(ratios[row])]
        return [(ratios[row], self.names[row], medians[row], best_names[row], best[row])
                for row in order[:WORST_SHOWN]]


def table(header, rows, is_text=False):
    lines = ["| " + " | ".join(header) + " |",
             "|" + "|".join("---" if column == 0 or is_text else "--:"
                            for column in range(len(header))) + "|"]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def ratio_text(ratio, median):
    if numpy.isnan(median):
        return "**failed**"
    return "no peer" if numpy.isnan(ratio) else f"{ratio:.2f}"


def mean_text(comparison, metric, allocator, group=None):
    mean = comparison.mean(metric, allocator, group)
    if mean.count == 0:
        return "no peer" if mean.without_peer else "**all failed**"
    text = f"{mean.value:.3f} ({mean.interval[0]:.2f}–{mean.interval[1]:.2f})"
    if mean.failed:
        text += f", **{mean.failed} failed**"
    return text + (f", {mean.without_peer} without a peer" if mean.without_peer else "")


def conditions(measured):
    """What was run, how often, and where."""
    where = measured["machine"]
    minutes = measured["seconds"] / 60
    return (f"{len(measured['workloads'])} workloads, {len(measured['allocators'])} allocators, "
            f"{measured['rounds']} rounds by turns, {minutes:.0f} minutes. {where['cpu']}, "
            f"{where['cpus']} CPUs, Linux {where['kernel']}, {where['libc']}; load average "
            f"{measured['load'][0]:.1f} before, {measured['load'][1]:.1f} after.")


def head(comparison):
    lines = ["# Allocators compared", "", conditions(comparison.measured), ""]
    if comparison.workloads:
        lines += ["A ratio is a median over that of the best peer of the workload (the best of "
                  f"all but {comparison.ours or 'nobody'}): less is better, 1.00 is as good as the "
                  "best.", ""]
    return lines + [
        *table(["allocator", "library"], [[name, library or "(the C library's own)"] for
                                          name, library in
                                          comparison.measured["allocators"].items()],
               is_text=True), ""]


def failures_section(failures):
    lines = ["## Failed cells", ""]
    if not failures:
        return lines + ["None: no crash, no wrong output.", ""]
    lines += [f"{len(failures)} cells failed; they are in no mean.", ""]
    return lines + table(["workload", "allocator", "why"],
                         [[workload, allocator, failure.replace("|", "/")]
                          for workload, allocator, failure in failures],
                         is_text=True) + [""]


def means_section(comparison):
    lines = ["## Geometric means", "",
             "In parentheses the 95 % interval over the choice of workloads.", "",
             "![](means.svg)", ""]
    for group in (None, *comparison.groups, LARGE_HEAPS):
        count = len(comparison.rows_of(group))
        if count == 0:
            continue
        lines += [f"### {group or 'all workloads'} ({count})", ""]
        lines += table(["allocator", *(metric.title for metric in METRICS)],
                       [[name, *(mean_text(comparison, metric, name, group)
                                 for metric in METRICS)] for name in comparison.allocators])
        lines.append("")
    return lines


def worst_section(comparison):
    if comparison.ours is None:
        return []
    lines = [f"## Where {comparison.ours} is worst", ""]
    for metric in METRICS:
        lines += [f"### {metric.title}", ""]
        lines += table(["workload", "ratio", f"{comparison.ours}, {metric.unit}",
                        f"best peer, {metric.unit}", "who"],
                       [[workload, f"{ratio:.2f}", f"{ours:.4g}", f"{best:.4g}", peer]
                        for ratio, workload, ours, peer, best
                        in comparison.worst_of_ours(metric)])
        lines.append("")
    return lines


def metric_section(comparison, metric):
    ratios, medians = comparison.ratios(metric), comparison.medians(metric)
    best, _ = comparison.best(metric)
    lines = [f"## {metric.title[0].upper() + metric.title[1:]}, ratio to the best peer", "",
             f"![]({metric.file})", ""]
    rows = [[name, "-" if numpy.isnan(best[row]) else f"{best[row]:.4g}",
             *map(ratio_text, ratios[row], medians[row])]
            for row, name in enumerate(comparison.names)]
    return lines + table(["workload", f"best peer, {metric.unit}", *comparison.allocators],
                         rows) + [""]


def spread_section(comparison):
    lines = ["## Spread", "",
             "Interquartile range of the runs of a cell over their median: the median cell, and "
             f"the worst; of less than {SPREAD_RUNS_MIN} rounds there is none. Differences below "
             "this are noise.", "", "![](spread.svg)", ""]
    spreads = {metric: comparison.spreads(metric) for metric in METRICS}
    rows = []
    for column, name in enumerate(comparison.allocators):
        row = [name]
        for metric in METRICS:
            valid = spreads[metric][:, column]
            valid = valid[~numpy.isnan(valid)]
            row.append(f"{numpy.median(valid):.1%} / {valid.max():.1%}" if len(valid) else "-")
        rows.append(row)
    return lines + table(["allocator", *(metric.title for metric in METRICS)], rows) + [""]


def workloads_section(measured):
    rows = [[one["name"], one["group"], str(one["threads"]), one["source"],
             "`" + " ".join(argument.rpartition("/")[2] if argument.startswith("/") else argument
                            for argument in one["command"] if argument).replace("|", "/") + "`"]
            for one in measured["workloads"]]
    return ["## Workloads", "",
            *table(["workload", "group", "threads", "after", "command"], rows, is_text=True)]


def as_markdown(comparison, memory_failures, memory_section):
    """The report. What memory_over_time.py has to say comes as lines."""
    lines = head(comparison) + failures_section(comparison.failures + memory_failures)
    if comparison.workloads:
        lines += means_section(comparison) + worst_section(comparison)
        for metric in METRICS:
            lines += metric_section(comparison, metric)
        lines += spread_section(comparison)
    lines += memory_section + workloads_section(comparison.measured)
    return "\n".join(lines) + "\n"


def summary(comparison):
    """A few lines for the terminal: the means, and what failed."""
    if not comparison.workloads:
        return ""
    lines = [f"{'ratio to the best peer':24}" + "".join(f"{one.title:>12}" for one in METRICS)]
    for name in comparison.allocators:
        means = [comparison.mean(metric, name).value for metric in METRICS]
        lines.append(f"{name:24}" + "".join(f"{mean:12.3f}" for mean in means))
    lines += [f"FAILED {workload}, {allocator}: {failure}"
              for workload, allocator, failure in comparison.failures]
    return "\n".join(lines)
