"""memory_over_time: what the group of that name shows: the resident set after each phase of a
workload, at its end, and in between.

Runs of different allocators, and of the same one, take different times for a phase. So that they
can be compared, and medians be taken, all are laid over one time: each stretch between two marks of
the live size is as long as it was in the median run.
"""

from modules import numpy
from report import METRICS, PEAK_RSS, Comparison, table
from workload_table import MEMORY

CPU = METRICS[0]
KIB_PER_MIB = 1024
BYTES_PER_MIB = 1 << 20
POINTS_PER_SECOND = 100
POINTS_MIN = 8  # of a stretch


def plot_file(name):
    return f"memory-{name}.svg"


def stretched_points(seconds):
    """Where in a stretch that long its points are: shares from 0 to 1, both included."""
    return numpy.linspace(0, 1, max(POINTS_MIN, int(seconds * POINTS_PER_SECOND)))


class MemoryOverTime(Comparison):
    """The workloads of the group by row; figures are MiB, and medians of an allocator's runs."""

    def __init__(self, measured, ours):
        super().__init__(measured, ours, lambda one: one["group"] == MEMORY)
        self.stretches = [self._median_stretches(row) for row in range(len(self.names))]

    def timelines(self, row, allocator):
        """Of each of the allocator's runs; none if it failed."""
        return [run["timeline"] for run in self.workloads[row]["cells"][allocator]["runs"]]

    def all_timelines(self, row):
        return [one for name in self.allocators for one in self.timelines(row, name)]

    def has_run(self, row):
        return bool(self.all_timelines(row))

    def _median_stretches(self, row):
        """The lengths of the stretches between marks, in seconds; the first begins with the run."""
        if not self.has_run(row):
            return numpy.array([])
        marks = numpy.array([[0, *one["live"]["ms"]] for one in self.all_timelines(row)])
        return numpy.median(numpy.diff(marks), axis=0) / 1000

    def phase_names(self, row):
        return [phase["name"] for phase in self.all_timelines(row)[0]["phases"]]

    def phase_ends(self, row):
        """In seconds of the common time."""
        timeline = self.all_timelines(row)[0]
        ends = numpy.cumsum(self.stretches[row])
        return numpy.array([ends[timeline["live"]["ms"].index(phase["ms"])]
                            for phase in timeline["phases"]])

    def _laid_over(self, row, timeline, times, values):
        """The values, at times of one run, at the points of the common time."""
        bounds = [0, *timeline["live"]["ms"]]
        return numpy.concatenate([
            numpy.interp(begin + (end - begin) * stretched_points(seconds), times, values)
            for begin, end, seconds in zip(bounds, bounds[1:], self.stretches[row])])

    def _common_time(self, row):
        ends = numpy.cumsum(self.stretches[row])
        return numpy.concatenate([end - seconds + seconds * stretched_points(seconds)
                                  for end, seconds in zip(ends, self.stretches[row])])

    def rss_curve(self, row, allocator):
        """Seconds, and the RSS; None if the allocator failed. The exact RSS at the ends of phases
        takes the place of the samples then."""
        curves = []
        for timeline in self.timelines(row, allocator):
            samples = timeline["samples"]
            points = sorted([(0.0, 0), *zip(samples["ms"], samples["rss_kib"]),
                             *((one["ms"], one["rss_kib"]) for one in timeline["phases"])])
            times, values = zip(*points)
            curves.append(self._laid_over(row, timeline, times, values))
        if not curves:
            return None
        return self._common_time(row), numpy.median(curves, axis=0) / KIB_PER_MIB

    def live_curve(self, row):
        """Seconds, and the live size, of all runs: it hardly depends on the allocator."""
        curves = [self._laid_over(row, one, [0, *one["live"]["ms"]], [0, *one["live"]["bytes"]])
                  for one in self.all_timelines(row)]
        return self._common_time(row), numpy.median(curves, axis=0) / BYTES_PER_MIB

    def mean_rss(self, row, allocator):
        """Over the common time; NaN if the allocator failed."""
        curve = self.rss_curve(row, allocator)
        if curve is None:
            return numpy.nan
        seconds, rss = curve
        return float(numpy.trapz(rss, seconds) / seconds[-1])

    def after_phases(self, row, allocator):
        """The RSS at the end of each phase; NaN if the allocator failed."""
        timelines = self.timelines(row, allocator)
        if not timelines:
            return numpy.full(len(self.phase_names(row)), numpy.nan)
        rss = [[phase["rss_kib"] for phase in one["phases"]] for one in timelines]
        return numpy.median(rss, axis=0) / KIB_PER_MIB

    def live_after_phases(self, row):
        live = [[phase["live_bytes"] for phase in one["phases"]]
                for one in self.all_timelines(row)]
        return numpy.median(live, axis=0) / BYTES_PER_MIB

    def peaks(self, row):
        return self.medians(PEAK_RSS)[row]

    def ends(self, row):
        """The RSS at the end of the last phase, of each allocator."""
        return numpy.array([self.after_phases(row, name)[-1] for name in self.allocators])


def mebibytes(value):
    return "**failed**" if numpy.isnan(value) else f"{value:.0f}"


def overview(memory, title, values_of, live_of):
    """A row a workload, the least of each in bold."""
    rows = []
    for row, name in enumerate(memory.names):
        if not memory.has_run(row):
            continue
        values = numpy.round(values_of(row))
        least = numpy.nanmin(values)
        rows.append([name, mebibytes(live_of(row)),
                     *(f"**{value:.0f}**" if value == least else mebibytes(value)
                       for value in values)])
    if not rows:
        return []
    return [f"### {title}", "", *table(["workload", "live", *memory.allocators], rows), ""]


def workload_lines(memory, row):
    """The plot of a workload, and its table."""
    name = memory.names[row]
    lines = [f"### {name}", ""]
    if not memory.has_run(row):
        return lines + ["**failed** with all allocators.", ""]
    phases = memory.phase_names(row)
    live = memory.live_after_phases(row)
    rows = [["(live)", "", f"{live.max():.0f}", "", *map(mebibytes, live)]]
    for column, allocator in enumerate(memory.allocators):
        rows.append([allocator,
                     mebibytes(memory.medians(CPU)[row][column]),
                     mebibytes(memory.peaks(row)[column]),
                     mebibytes(memory.mean_rss(row, allocator)),
                     *map(mebibytes, memory.after_phases(row, allocator))])
    return lines + [f"![]({plot_file(name)})", "",
                    *table(["allocator", "CPU, ms", "peak", "mean", *phases], rows), ""]


def section(memory):
    """What report.md says of the group; nothing if it wasn't run."""
    if not memory.names:
        return []
    lines = ["## Memory over time", "",
             "RSS in MiB, medians of the runs. These workloads are not part of the means: what "
             "they show is what stays when blocks are freed, and when it goes back. Peaks are the "
             "kernel's, the RSS after a phase is exact; the last phase's is that at the end. "
             "`mean` is over time. In the plots each phase is as long as in the median of "
             "all runs, "
             "so that the curves can be compared; what is alive is the grey area.", ""]
    lines += overview(memory, "RSS at the end", memory.ends,
                      lambda row: memory.live_after_phases(row)[-1])
    lines += overview(memory, "Peak RSS", memory.peaks,
                      lambda row: memory.live_curve(row)[1].max())
    for row in range(len(memory.names)):
        lines += workload_lines(memory, row)
    return lines


def figures(memory):
    """The derived figures, for report.json, in MiB: {workload: {allocator: {…}}}."""
    def rounded(value):
        return None if numpy.isnan(value) else round(float(value), 1)

    result = {}
    for row, workload in enumerate(memory.names):
        if not memory.has_run(row):
            continue
        names = memory.phase_names(row)
        result[workload] = {"live": dict(zip(names, map(rounded, memory.live_after_phases(row))))}
        for column, allocator in enumerate(memory.allocators):
            after = dict(zip(names, map(rounded, memory.after_phases(row, allocator))))
            result[workload][allocator] = {"peak": rounded(memory.peaks(row)[column]),
                                           "mean": rounded(memory.mean_rss(row, allocator)),
                                           "after": after, "end": after[names[-1]]}
    return result


def summary(memory):
    """A few lines for the terminal: what is left at the end, and what failed."""
    if not memory.names:
        return ""
    lines = [f"{'RSS at the end, MiB':24}" + "".join(f"{one:>12}" for one in memory.allocators)]
    for row, name in enumerate(memory.names):
        if memory.has_run(row):
            cells = (mebibytes(one).strip("*") for one in memory.ends(row))
            lines.append(f"{name:24}" + "".join(f"{one:>12}" for one in cells))
    lines += [f"FAILED {workload}, {allocator}: {failure}"
              for workload, allocator, failure in memory.failures]
    return "\n".join(lines)
