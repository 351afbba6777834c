"""workload_table: the programs of bench/workloads with the arguments they are compared with.

Each takes some 0.1 to 1 s with most allocators. The header of a program says what it does, and
whom it follows; `source` names that in short.
"""

from dataclasses import dataclass, field
from typing import Callable, Optional

ONE_THREAD = "one thread"
THREADS = "threads"
PROGRAMS = "programs"
MEMORY = "memory over time"
GROUPS = (ONE_THREAD, THREADS, PROGRAMS, MEMORY)


@dataclass(frozen=True)
class Workload:
    """Something to run under every allocator.

    output_is_fixed: what it prints must be what it prints without a preloaded library.
    driver: a client, called while the program runs; see launch.
    brings_malloc: it is linked to a malloc of its own, so glibc's has to be preloaded as well.
    is_sampled: it marks the ends of its phases, and its RSS is read while it runs.
    """

    name: str
    group: str
    threads: int
    command: tuple
    source: str
    output_is_fixed: bool = True
    environment: dict = field(default_factory=dict)
    driver: Optional[Callable] = None
    brings_malloc: bool = False
    is_sampled: bool = False


PAIR = "TCMalloc, Ghemawat and Menage 2007"
GLIBC = "glibc benchtests, bench-malloc-simple"
ALLOC_TEST = "alloc-test, Ignatchenko 2018; Johnstone and Wilson 1998"
SCRIPTS = "gawk and perl, Detlefs, Dosser and Zorn 1994"
FBVECTOR = "folly FBVector, Alexandrescu 2012; Lea 1996"
LARGE = "mimalloc-bench malloc-large, Leijen 2019"
CALLOC = "glibc benchtests; Lea 1996"
TREES = "Benchmarks Game; GCBench, Ellis, Kovac and Boehm 1997"
CFRAC = "cfrac, Zorn and Grunwald 1992"
ESPRESSO = "espresso, Zorn and Grunwald 1992"
BARNES = "barnes, Barnes and Hut 1986; Hoard, Berger et al. 2000"
SMARTHEAP = "sh6bench and sh8bench, MicroQuill"
LARSON = "Larson and Krishnan 1998"
XMALLOC = "xmalloc-test, Lever and Boreham 2000"
HOARD = "Hoard, Berger et al. 2000"
TURNOVER = "Larson and Krishnan 1998; Evans 2006"
EXCHANGE = "mstress, Leijen 2019; rptest, Jansson 2016"
ROBSON = "Robson 1974 and 1977"
MESH = "Mesh, Powers et al. 2019; Wilson et al. 1995"
LIFETIMES = "Barrett and Zorn 1993; Maas et al. 2020"
DECAY = "jemalloc, Evans 2011"
OWN = "of this project"

# Name, threads, source, command line. The sizes of live sets are KiB.
ROWS = (
    ("pair-16", 1, PAIR, "fixed_size 16 50000000"),
    ("pair-100", 1, PAIR, "fixed_size 100 50000000"),
    ("pair-1000", 1, PAIR, "fixed_size 1000 50000000"),
    ("pair-8K", 1, PAIR, "fixed_size 8192 30000000"),
    ("pair-32K", 1, PAIR, "fixed_size 32768 30000000"),
    ("pair-256K", 1, PAIR, "fixed_size 262144 10000000"),
    ("fifo-25", 1, GLIBC, "phases fifo 25 64 40000000"),
    ("fifo-100", 1, GLIBC, "phases fifo 100 64 40000000"),
    ("fifo-400", 1, GLIBC, "phases fifo 400 64 40000000"),
    ("fifo-1600", 1, GLIBC, "phases fifo 1600 64 30000000"),
    ("fifo-10000", 1, GLIBC, "phases fifo 10000 64 30000000"),
    ("fifo-10000-1K", 1, GLIBC, "phases fifo 10000 1024 10000000"),
    ("lifo-25", 1, GLIBC, "phases lifo 25 64 40000000"),
    ("lifo-400", 1, GLIBC, "phases lifo 400 64 40000000"),
    ("lifo-10000", 1, GLIBC, "phases lifo 10000 64 30000000"),
    ("lifo-10000-1K", 1, GLIBC, "phases lifo 10000 1024 20000000"),
    ("random-1M", 1, ALLOC_TEST, "random_lifetimes 1024 8000000 1"),
    ("random-30M", 1, ALLOC_TEST, "random_lifetimes 30720 4000000 1"),
    ("random-1G", 1, ALLOC_TEST, "random_lifetimes 1048576 5000000 1"),
    ("strings", 1, SCRIPTS, "string_build 800000"),
    ("realloc-pieces", 1, FBVECTOR, "realloc_growth pieces 200 4096 10000000"),
    ("realloc-64K", 1, FBVECTOR, "realloc_growth doubling 1000 65536 1000000"),
    ("realloc-8M", 1, FBVECTOR, "realloc_growth doubling 16 8388608 8000"),
    ("big-blocks", 1, LARGE, "big_blocks quarter 20 1000"),
    ("big-blocks-all", 1, LARGE, "big_blocks all 20 300"),
    ("calloc-sparse", 1, CALLOC, "calloc_arrays sparse 8388608 1500"),
    ("calloc-dense", 1, CALLOC, "calloc_arrays dense 8388608 500"),
    ("calloc-dense-256K", 1, CALLOC, "calloc_arrays dense 262144 30000"),
    ("trees", 1, TREES, "binary_trees 17 1"),
    ("algebra", 1, CFRAC, "algebra 32 60"),
    ("logic", 1, ESPRESSO, "logic 9 250"),
    ("octree", 1, BARNES, "octree 20000 60"),
    ("batches", 1, SMARTHEAP, "batches 1 12000"),
    ("live-heap", 1, OWN, "live_heap"),
    ("live-heap-aged", 1, OWN, "live_heap 100"),
    ("huge-loop", 1, OWN, "huge_block_loop pages 1000"),
    ("larson-2", 2, LARSON, "larson 2 50 300000"),
    ("larson-8", 8, LARSON, "larson 8 50 80000"),
    ("producer-consumer-2", 2, OWN, "remote 1 8000000"),
    ("producer-consumer-8", 8, OWN, "remote 4 2000000"),
    ("xmalloc-2", 2, XMALLOC, "xmalloc 1 1 50000"),
    ("xmalloc-8", 8, XMALLOC, "xmalloc 4 4 50000"),
    ("fan-out-8", 8, XMALLOC, "xmalloc 1 7 20000"),
    ("fan-in-8", 8, XMALLOC, "xmalloc 7 1 40000"),
    ("active-false-2", 2, HOARD, "false_sharing active 2 3000 30000"),
    ("active-false-8", 8, HOARD, "false_sharing active 8 3000 8000"),
    ("passive-false-2", 2, HOARD, "false_sharing passive 2 3000 30000"),
    ("passive-false-8", 8, HOARD, "false_sharing passive 8 3000 8000"),
    ("active-false-quick-2", 2, HOARD, "false_sharing active 2 10000000 1"),
    ("threadtest-2", 2, HOARD, "threadtest 2 100000 64 300"),
    ("threadtest-8", 8, HOARD, "threadtest 8 100000 64 300"),
    ("random-1M-2", 2, ALLOC_TEST, "random_lifetimes 1024 4000000 2"),
    ("random-1M-8", 8, ALLOC_TEST, "random_lifetimes 1024 1000000 8"),
    ("trees-2", 2, TREES, "binary_trees 16 2"),
    ("trees-8", 8, TREES, "binary_trees 14 8"),
    ("batches-2", 2, SMARTHEAP, "batches 2 3000"),
    ("batches-8", 8, SMARTHEAP, "batches 8 1500"),
    ("thread-churn", 100, OWN, "thread_churn"),
    ("survivors-2", 2, TURNOVER, "survivors 2 300"),
    ("survivors-8", 8, TURNOVER, "survivors 8 80"),
    ("all-to-all-2", 2, EXCHANGE, "all_to_all 2 4096 4000000"),
    ("all-to-all-8", 8, EXCHANGE, "all_to_all 8 65536 250000"),
    ("turns-2", 2, HOARD, "turns 2 50000 120"),
    ("turns-8", 8, HOARD, "turns 8 50000 120"),
    ("sleeping-producer-2", 2, HOARD, "pipeline 2 50000 24"),
    ("sleeping-producer-8", 8, HOARD, "pipeline 8 50000 24"),
    ("teardown-ended", 2, OWN, "teardown ended 800000 64 2"),
    ("teardown-asleep", 2, OWN, "teardown asleep 800000 64 2"),
)

# Some seconds each: what goes back needs time. They count for memory alone.
MEMORY_ROWS = (
    ("robson", 1, ROBSON, "robson 48 14"),
    ("phase-change", 1, MESH, "phase_change 96 9"),
    ("rare-survivors", 1, MESH, "rare_survivors 192 8"),
    ("sprinkled", 1, LIFETIMES, "sprinkled 98304 4000000"),
    ("idle-return", 1, DECAY, "memory_return light 350 1 2"),
    ("idle-sleep", 4, DECAY, "memory_return asleep 350 4 3"),
    ("sleeping-owners", 65, HOARD, "sleeping_owners 64 4"),
)

# These print what they measured themselves.
PRINTS_FIGURES = ("live_heap", "huge_block_loop", "remote", "thread_churn")


def own_workloads(programs):
    """The workloads whose programs are in the directory `programs`."""
    workloads = []
    for name, threads, source, line in ROWS:
        program, *arguments = line.split()
        workloads.append(Workload(name, ONE_THREAD if threads == 1 else THREADS, threads,
                                  (str(programs / program), *arguments), source,
                                  output_is_fixed=program not in PRINTS_FIGURES))
    return workloads


def memory_workloads(programs):
    """Those of the group MEMORY."""
    return [Workload(name, MEMORY, threads, (str(programs / program), *arguments), source,
                     is_sampled=True)
            for name, threads, source, (program, *arguments)
            in ((*row[:3], row[3].split()) for row in MEMORY_ROWS)]
