"""plots: a comparison as SVG files: a dot plot for each metric, the means, the spread; memory over
time, and what scaling.py measures, as curves."""

import matplotlib

matplotlib.use("svg")

# pylint: disable=wrong-import-position
import numpy  # noqa: E402
from matplotlib import pyplot, ticker  # noqa: E402

import callgrind  # noqa: E402
from memory_over_time import plot_file as memory_file  # noqa: E402
from report import METRICS  # noqa: E402
from scaling import THREADS_BASE, THROUGHPUTS, size_text  # noqa: E402

MARKERS = "osD^vPX*<>"
RATIO_SHOWN_MAX = 12  # what is beyond stands at the edge, with its number
NAMES_APART = 0.03  # of the width of a plot over time


def style(comparison, name):
    """Colour and marker of an allocator; ours is black and drawn last."""
    number = comparison.allocators.index(name)
    is_ours = name == comparison.ours
    return {"color": "black" if is_ours else f"C{number}", "marker": MARKERS[number % 10],
            "zorder": 4 if is_ours else 3}


def set_ratio_axis(axes):
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(ticker.FixedLocator([0.25, 0.5, 0.7, 1, 1.5, 2, 3, 5, 8, 12]))
    axes.xaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
    axes.xaxis.set_minor_locator(ticker.NullLocator())
    axes.axvline(1, color="grey", linewidth=1, zorder=1)
    axes.grid(axis="x", alpha=0.3)


def save(figure, path):
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
    pyplot.close(figure)


def draw_ratios(comparison, metric, path):
    """One line a workload, one dot an allocator, with a bar as long as the interquartile range
    of its runs, if there are enough of them; failed cells are named at the right."""
    ratios = comparison.ratios(metric)
    medians = comparison.medians(metric)
    spreads = comparison.spreads(metric)
    rows = numpy.arange(len(comparison.names))
    figure, axes = pyplot.subplots(figsize=(10, 1.5 + 0.24 * len(rows)))
    for column, name in enumerate(comparison.allocators):
        shown = numpy.minimum(ratios[:, column], RATIO_SHOWN_MAX)
        bars = numpy.nan_to_num(shown * spreads[:, column] / 2)
        axes.errorbar(shown, rows, xerr=bars, label=name, linestyle="", markersize=5,
                      elinewidth=0.8, alpha=0.85, **style(comparison, name))
        for row in rows[ratios[:, column] > RATIO_SHOWN_MAX]:
            axes.annotate(f"{ratios[row, column]:.0f}", (RATIO_SHOWN_MAX, row), fontsize=7,
                          xytext=(5 + 14 * column, -3), textcoords="offset points",
                          color=style(comparison, name)["color"])
    for row in rows:
        failed = [name for name, is_failed in
                  zip(comparison.allocators, numpy.isnan(medians[row])) if is_failed]
        if failed:
            axes.annotate(f"× failed: {', '.join(failed)}", (1, row),
                          xycoords=("axes fraction", "data"), xytext=(5, -3),
                          textcoords="offset points", color="red", fontsize=8)
    set_ratio_axis(axes)
    axes.set_yticks(rows, comparison.names, fontsize=8)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(axis="y", alpha=0.15)
    axes.set_title(f"{metric.title}, ratio to the best peer (less is better)")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.6 / figure.get_figheight()), ncol=6,
                frameon=False)
    save(figure, path)


def draw_means(comparison, path):
    """The geometric means with their intervals, a panel for each metric."""
    figure, panels = pyplot.subplots(1, len(METRICS), sharey=True,
                                     figsize=(12, 1.5 + 0.35 * len(comparison.allocators)))
    for metric, axes in zip(METRICS, panels):
        for row, name in enumerate(comparison.allocators):
            mean = comparison.mean(metric, name)
            if mean.count == 0:
                text = "no peer" if mean.without_peer else "all failed"
                axes.annotate(text, (1, row), xytext=(5, -3), textcoords="offset points",
                              fontsize=8, color="red")
                continue
            low, high = mean.interval
            axes.errorbar([mean.value], [row], xerr=[[mean.value - low], [high - mean.value]],
                          linestyle="", capsize=3, **style(comparison, name))
            text = f"{mean.value:.2f}" + (f", {mean.failed} failed" if mean.failed else "")
            axes.annotate(text, (mean.value, row), xytext=(0, 5), textcoords="offset points",
                          ha="center", fontsize=8, color="red" if mean.failed else "black")
        set_ratio_axis(axes)
        axes.set_title(metric.title)
        axes.set_yticks(range(len(comparison.allocators)), comparison.allocators)
        axes.set_ylim(len(comparison.allocators) - 0.4, -0.8)
    figure.suptitle("Geometric mean of the ratios to the best peer (less is better)", y=1.02)
    save(figure, path)


def draw_spread(comparison, path):
    """How the ratios lie over the workloads, and how the runs of a cell differ."""
    figure, panels = pyplot.subplots(2, len(METRICS), figsize=(13, 8))
    for column, metric in enumerate(METRICS):
        for axes, values, title in (
                (panels[0][column], comparison.ratios(metric), "ratios of the workloads"),
                (panels[1][column], comparison.spreads(metric) * 100,
                 "quartile range of a cell's runs, %")):
            axes.boxplot([one[~numpy.isnan(one)] for one in values.T],
                         labels=comparison.allocators, flierprops={"markersize": 3})
            axes.set_title(f"{metric.title}: {title}", fontsize=9)
            axes.tick_params(axis="x", rotation=30, labelsize=8)
            axes.grid(axis="y", alpha=0.3)
        panels[0][column].set_yscale("log")
        panels[0][column].yaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
    figure.tight_layout()
    save(figure, path)


def draw_memory(memory, row, path):
    """RSS over time, a curve an allocator, over the live size as an area; the ends of the phases as
    lines, with their names on top."""
    figure, axes = pyplot.subplots(figsize=(10, 5))
    seconds, live = memory.live_curve(row)
    axes.fill_between(seconds, live, color="0.85", linewidth=0, zorder=1)
    axes.plot(seconds, live, color="0.5", linewidth=1, linestyle="--", label="live", zorder=2)
    ends = memory.phase_ends(row)
    for name in memory.allocators:
        curve = memory.rss_curve(row, name)
        if curve is None:
            axes.plot([], [], label=f"{name} (failed)", **style(memory, name))
            continue
        marked = numpy.searchsorted(curve[0], ends - 1e-9).tolist()
        axes.plot(*curve, label=name, markevery=marked, markersize=5, linewidth=1.4, alpha=0.85,
                  **style(memory, name))
    axes.set_xlim(0, seconds[-1])
    axes.set_ylim(bottom=0)
    axes.set_xlabel("time, s (each phase as long as its median run)")
    axes.set_ylabel("RSS, MiB")
    axes.grid(axis="y", alpha=0.3)
    name_phases(axes, ends, memory.phase_names(row), seconds[-1])
    axes.set_title(f"{memory.names[row]}: RSS over time (less is better)", pad=48)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncol=7, frameon=False,
                fontsize=9)
    save(figure, path)


def name_phases(axes, ends, names, width):
    """The names above the ends of their phases, moved apart where phases are short."""
    place = -width
    for end, name in zip(ends, names):
        place = max(end, place + width * NAMES_APART)
        axes.annotate(name, (end, 1), xytext=(place, 1.025), fontsize=8, rotation=35, ha="left",
                      xycoords=("data", "axes fraction"), textcoords=("data", "axes fraction"),
                      rotation_mode="anchor",
                      arrowprops={"arrowstyle": "-", "color": "0.7", "linewidth": 0.7,
                                  "shrinkA": 0, "shrinkB": 0, "relpos": (0, 0)})
        if end < width:
            axes.axvline(end, color="0.7", linewidth=0.7, zorder=1)


def write_all(comparison, memory, directory):
    """Writes every plot that report.md shows."""
    pyplot.rcParams["svg.hashsalt"] = "bench"
    for row, name in enumerate(memory.names):
        if memory.has_run(row):
            draw_memory(memory, row, directory / memory_file(name))
    if not comparison.workloads:
        return
    for metric in METRICS:
        draw_ratios(comparison, metric, directory / metric.file)
    draw_means(comparison, directory / "means.svg")
    draw_spread(comparison, directory / "spread.svg")


def draw_curves(scaling, points, values, axes):
    """A curve an allocator over a logarithmic axis; failed points are named below their tick."""
    for column, name in enumerate(scaling.allocators):
        axes.plot(points, values[:, column], label=name, markersize=5, linewidth=1.2, alpha=0.85,
                  **style(scaling, name))
    for point, row in zip(points, values):
        failed = [name for name, is_failed in zip(scaling.allocators, numpy.isnan(row))
                  if is_failed]
        if failed:
            axes.annotate("× failed:\n" + "\n".join(failed), (point, 0), fontsize=7, color="red",
                          xycoords=("data", "axes fraction"), xytext=(0, 4), ha="center",
                          textcoords="offset points")
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(ticker.FixedLocator(points))
    axes.xaxis.set_minor_locator(ticker.NullLocator())
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=8)


def draw_live_sets(scaling, path):
    points, values = scaling.live_sets()
    figure, axes = pyplot.subplots(figsize=(8, 5))
    draw_curves(scaling, points, values, axes)
    axes.set_xticks(points, [size_text(point) for point in points])
    axes.set_xlabel("live set, bytes")
    axes.set_ylabel("CPU time of a step, ns")
    axes.set_title("One object freed, one allocated (less is better)")
    save(figure, path)


def draw_throughput(scaling, workload, path):
    points, values = scaling.throughput(workload)
    figure, axes = pyplot.subplots(figsize=(8, 5))
    draw_curves(scaling, points, values, axes)
    axes.xaxis.set_major_formatter(ticker.FormatStrFormatter("%d"))
    axes.axhline(1, color="grey", linewidth=1, zorder=1)
    axes.set_xlabel("threads")
    axes.set_ylabel(f"throughput, of the own with {THREADS_BASE} threads")
    axes.set_title(f"{workload.name}: the same work with more threads (more is better)")
    save(figure, path)


def draw_tree(scaling, path):
    """Instructions of the tree's calls by order, each with the line that fits best."""
    figure, axes = pyplot.subplots(figsize=(8, 5))
    orders = numpy.array(callgrind.TREE_ORDERS)
    for number, (pattern, function, counts, line) in enumerate(scaling.tree_lines()):
        axes.plot(orders, counts, linestyle="", marker=MARKERS[number], color=f"C{number}",
                  label=f"{function}, {pattern}: {line.slope:+.1f} an order, "
                        f"r² {line.rvalue ** 2:.3f}")
        axes.plot(orders, line.intercept + line.slope * orders, color=f"C{number}", linewidth=0.8)
    axes.set_xticks(orders)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("order of the block")
    axes.set_ylabel("instructions of one call")
    axes.set_title("The buddy tree's calls by order")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=8)
    save(figure, path)


def write_scaling(scaling, directory):
    """Writes every plot that scaling.md shows."""
    pyplot.rcParams["svg.hashsalt"] = "bench"
    if scaling.live_sets()[0]:
        draw_live_sets(scaling, directory / "live-sets.svg")
    for workload in THROUGHPUTS:
        if scaling.throughput(workload)[0]:
            draw_throughput(scaling, workload, directory / workload.file)
    if scaling.tree["patterns"]:
        draw_tree(scaling, directory / "tree.svg")
