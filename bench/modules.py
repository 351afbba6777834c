"""modules: numpy and scipy.stats, or None where they are not installed.

So comparison.py can say what --list and --help ask for by Python alone; tools/bench installs them,
and what draws and counts runs, before anything is measured.
"""

try:
    import numpy
    from scipy import stats
except ImportError:
    numpy = stats = None
