"""plots: a comparison as SVG files: a dot plot for each metric, the means, the spread."""

import matplotlib

matplotlib.use("svg")

# pylint: disable=wrong-import-position
import numpy  # noqa: E402
from matplotlib import pyplot, ticker  # noqa: E402

from report import METRICS  # noqa: E402

MARKERS = "osD^vPX*<>"
RATIO_SHOWN_MAX = 12  # what is beyond stands at the edge, with its number


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
    of its runs; failed cells are named at the right."""
    ratios = comparison.ratios(metric)
    spreads = comparison.spreads(metric)
    rows = numpy.arange(len(comparison.names))
    figure, axes = pyplot.subplots(figsize=(10, 1.5 + 0.24 * len(rows)))
    for column, name in enumerate(comparison.allocators):
        shown = numpy.minimum(ratios[:, column], RATIO_SHOWN_MAX)
        axes.errorbar(shown, rows, xerr=shown * spreads[:, column] / 2, label=name,
                      linestyle="", markersize=5, elinewidth=0.8, alpha=0.85,
                      **style(comparison, name))
        for row in rows[ratios[:, column] > RATIO_SHOWN_MAX]:
            axes.annotate(f"{ratios[row, column]:.0f}", (RATIO_SHOWN_MAX, row), fontsize=7,
                          xytext=(5 + 14 * column, -3), textcoords="offset points",
                          color=style(comparison, name)["color"])
    for row in rows:
        failed = [name for name, is_failed in
                  zip(comparison.allocators, numpy.isnan(ratios[row])) if is_failed]
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
            mean, (low, high), valid, wanted = comparison.mean(metric, name)
            if valid == 0:
                axes.annotate("all failed", (1, row), xytext=(5, -3), textcoords="offset points",
                              fontsize=8, color="red")
                continue
            axes.errorbar([mean], [row], xerr=[[mean - low], [high - mean]], linestyle="",
                          capsize=3, **style(comparison, name))
            text = f"{mean:.2f}" if valid == wanted else f"{mean:.2f}, {wanted - valid} failed"
            axes.annotate(text, (mean, row), xytext=(0, 5), textcoords="offset points",
                          ha="center", fontsize=8, color="black" if valid == wanted else "red")
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


def write_all(comparison, directory):
    """Writes every plot that report.md shows."""
    pyplot.rcParams["svg.hashsalt"] = "bench"
    for metric in METRICS:
        draw_ratios(comparison, metric, directory / metric.file)
    draw_means(comparison, directory / "means.svg")
    draw_spread(comparison, directory / "spread.svg")
