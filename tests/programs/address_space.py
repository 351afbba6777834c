#!/usr/bin/python3
"""What real programs do with their address space when a malloc is preloaded.

    address_space.py mappings|limit_addresses|limit_data LIBRARY BACKEND BUILD_ROOT

mappings: no process has more anonymous mappings (proc(5), maps) than the most that the same
program's have on the malloc it comes with, and MORE_MAPPINGS. They are counted every few
milliseconds, so that of short processes a moment may be missed.

limit_addresses, limit_data: under `ulimit -v 200000` and `ulimit -d 200000` a program that does not
need so much ends well, with the output that it has without the library and without a limit.

LIBRARY, BACKEND and BUILD_ROOT are those of run_program.py. Programs that aren't installed are
left out.
"""

import pathlib
import resource
import sys
import tempfile
import threading
import time

import programs
from run_program import SKIPPED, run_once
from session import Failure, Session, Skip

LIMIT = 200000 * 1024

# The library's own data is one, a heap of up to 448 MiB is three regions of two each, and a child
# of fork adds one a region.
MORE_MAPPINGS = 10


# ---- programs ----

def python3(session):
    """Some MiB of objects that come and go."""
    return session.run("python3", "-c", """
rows = [{"key": i, "text": "x" * (i % 300)} for i in range(50000)]
kept = [row for row in rows if row["key"] % 3]
del rows
table = {row["key"]: row["text"] * 2 for row in kept}
print(len(kept), sum(map(len, table.values())))
""", environment={"PYTHONMALLOC": "malloc"})


def python3_threads(session):
    """Eight threads at a time, with data of each. Their stacks would be most of the limit."""
    return session.run("python3", "-c", """
import threading
threading.stack_size(1 << 20)
started = threading.Barrier(8)
sums = [0] * 8
def work(number):
    started.wait(timeout=20)
    for round in range(20):
        sums[number] += sum(len(text) for text in ["y" * (i % 500) for i in range(5000)])
    started.wait(timeout=20)
threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(sums)
""", environment={"PYTHONMALLOC": "malloc"})


def gcc(session):
    """One small file, optimised and linked."""
    (session.work / "small.c").write_text(
        "#include <stdio.h>\n"
        "int main(int argc, char **argv) { while (argc-- > 1) puts(argv[argc]); return 0; }\n")
    session.run("gcc", "-O2", "-g", "-o", "small", "small.c")
    return session.run(session.work / "small", "one", "two") + programs.digests_of(session.work,
                                                                                    "small*")


def sqlite3(session):
    """A table, an index, and a file of them."""
    return session.run("sqlite3", "small.db", given="""
create table item(number integer primary key, name text, tens integer);
with recursive counter(n) as (select 1 union all select n + 1 from counter where n < 20000)
    insert into item select n, printf('item %06d', n), n / 10 from counter;
create index by_name on item(name desc);
delete from item where number % 3 = 0;
select tens % 7, count(*), max(name) from item group by 1;
pragma integrity_check;
""")


FIT = {
    "python3": python3, "python3_threads": python3_threads, "gcc": gcc, "git": programs.git,
    "perl": programs.perl, "sqlite3": sqlite3,
}
ALL = {**FIT, "redis": programs.redis, "sqlite3": programs.sqlite3_in_memory}


# ---- mappings ----

def anonymous_mappings(process_id):
    """None: the process is gone; 0: as good as gone."""
    try:
        lines = pathlib.Path("/proc", str(process_id), "maps").read_text().splitlines()
    except OSError:
        return None
    names = [line.split(maxsplit=5)[5:] for line in lines]
    return sum(not name or name == ["[heap]"] for name in names)


def with_children(process_id):
    yield process_id
    try:
        paths = list(pathlib.Path("/proc", str(process_id), "task").glob("*/children"))
    except OSError:
        return
    for path in paths:
        try:
            children = path.read_text().split()
        except OSError:
            continue
        for child in children:
            yield from with_children(child)


class Counted(Session):
    """Counts the mappings of all processes it starts, and of theirs."""

    def __init__(self, *about):
        super().__init__(*about)
        self._lock = threading.Lock()  # of what the watchers of several processes share
        self._most = 0
        self._wrong = []
        self._watchers = []

    def _watch(self, process):
        try:
            while process.poll() is None:
                for each in with_children(process.pid):
                    count = anonymous_mappings(each) or 0
                    with self._lock:
                        self._most = max(self._most, count)
                time.sleep(0.007)
        except Exception as wrong:  # of whatever kind: nobody else sees it
            with self._lock:
                self._wrong.append(wrong)

    def start(self, *command, **options):
        process = super().start(*command, **options)
        self._watchers.append(threading.Thread(target=self._watch, args=(process,), daemon=True))
        self._watchers[-1].start()
        return process

    def most(self):
        """When all processes have ended."""
        for watcher in self._watchers:
            watcher.join(timeout=20)
            if watcher.is_alive():
                raise Failure("a process is still watched")
        if self._wrong:
            raise Failure(f"a watcher failed: {self._wrong[0]!r}")
        # A zombie has none, and so has what was never looked at.
        if self._most == 0:
            raise Failure("no mapping was ever counted")
        return self._most


def most_mappings(function, work, library, *about):
    sessions = []

    def remember(*arguments):
        sessions.append(Counted(*arguments))
        return sessions[-1]

    run_once(function, work, library, *about, make_session=remember)
    return sessions[-1].most()


def compare_mappings(name, function, work, library, *about):
    without = most_mappings(function, work, None, *about)
    counted = most_mappings(function, work, library, *about)
    print(f"{name}: {counted} anonymous mappings at most, {without} without the library")
    if counted > without + MORE_MAPPINGS:
        raise Failure(f"{name} has {counted} anonymous mappings, without the library {without}")


# ---- limits ----

class Limited(Session):
    """Starts every program under a limit."""

    resource = resource.RLIMIT_AS

    def start(self, *command, **options):
        def limit():
            resource.setrlimit(self.resource, (LIMIT, LIMIT))
        return super().start(*command, preexec_fn=limit, **options)


class LimitedData(Limited):
    resource = resource.RLIMIT_DATA


def compare_limited(kind, name, function, work, library, *about):
    expected = run_once(function, work, None, *about)
    try:
        output = run_once(function, work, library, *about, make_session=kind)
    except Failure:
        run_once(function, work, None, *about, make_session=kind)  # does it need more in any case?
        raise
    if output != expected:
        raise Failure(f"{name}: the output differs under the limit")
    print(f"{name}: the same {len(expected.splitlines())} lines under the limit")


CHECKS = {
    "mappings": (ALL, compare_mappings),
    "limit_addresses": (FIT, lambda *about: compare_limited(Limited, *about)),
    "limit_data": (FIT, lambda *about: compare_limited(LimitedData, *about)),
}


def main():
    if len(sys.argv) != 5 or sys.argv[1] not in CHECKS:
        sys.exit(__doc__)
    library, backend, build_root = sys.argv[2:]
    chosen, check = CHECKS[sys.argv[1]]
    status = SKIPPED
    with tempfile.TemporaryDirectory(prefix="buddymalloc-") as directory:
        link = pathlib.Path(directory, pathlib.Path(library).name)
        link.symlink_to(pathlib.Path(library).resolve(strict=True))
        for name, function in chosen.items():
            try:
                check(name, function, pathlib.Path(directory, "work"), link, backend,
                      pathlib.Path(build_root).resolve(strict=True))
                status = 0 if status == SKIPPED else status
            except Skip as reason:
                print(f"{name} skipped: {reason}")
            except Failure as failure:
                print(f"{name}: {failure}")
                status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
