"""real_programs: programs of Debian as workloads, on the scripts of bench/programs.

Each runs on one input that is always the same; what it prints must be what it prints without a
preloaded library. The processes it starts (a compiler's) run under the same allocator.
"""

import random
import shutil
import socket
import subprocess
import time
from pathlib import Path

from allocators import clean_environment
from launch import RunError
from workload_table import PROGRAMS, Workload

SCRIPTS = Path(__file__).resolve().parent / "programs"
REDIS_REQUESTS = 100_000
REDIS_WAIT_SECONDS = 20


def write_c_source(path):
    """A C file of 500 functions with loops, branches and calls."""
    lines = ["#include <stdio.h>", "struct item { int number; double weight; char name[20]; };"]
    for i in range(500):
        lines += [
            f"static int work_{i}(struct item *items, int count)", "{", f"    int sum = {i};",
            "    for (int k = 0; k < count; k++) {",
            f"        switch (items[k].number % {3 + i % 5}) {{",
            f"        case 0: sum += items[k].number * {i + 1}; break;",
            f"        case 1: items[k].weight *= {i % 7}.25; break;",
            f"        default: sum ^= items[k].name[k % {1 + i % 20}] << {i % 9};", "        }",
            "    }",
            f"    return sum + (count > {i % 11} ? work_{i - 1}(items, count - 1) : 0);" if i else
            "    return sum;",
            "}"]
    lines += ["int main(void)", "{", "    struct item items[40] = {{0}};",
              '    printf("%d\\n", work_499(items, 40));', "    return 0;", "}"]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_xml(path):
    """60 000 elements with attributes, text and children."""
    generator = random.Random(1)
    lines = ["<?xml version='1.0' encoding='UTF-8'?>", "<catalogue>"]
    for i in range(60_000):
        words = " ".join("word" * generator.randint(1, 3) for _ in range(generator.randint(1, 6)))
        lines.append(f"<item id='n{i}' kind='k{generator.randint(0, 50)}'><name>{words}</name>"
                     f"<price currency='EUR'>{generator.randint(1, 9999)}</price><empty/></item>")
    lines.append("</catalogue>")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def run_client(timeout, program, *arguments):
    """What a client of a server prints; RunError if it fails, or takes so many seconds."""
    try:
        result = subprocess.run([f"/usr/bin/{program}", *arguments], env=clean_environment(),
                                capture_output=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        raise RunError(f"{program}: no end within {timeout} s") from None
    if result.returncode != 0:
        raise RunError(f"{program}: {result.stderr.decode(errors='replace').strip()[-300:]}")
    return result.stdout


def redis_answer(port, *command):
    """What the server on a port answers to one command."""
    return run_client(60, "redis-cli", "-p", str(port), *command)


def wait_for_port(port):
    deadline = time.monotonic() + REDIS_WAIT_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise RunError("the server doesn't accept connections") from None
            time.sleep(0.01)


def drive_redis(port):
    """A load of requests with pipelining, a digest of all data, and the end of the server."""
    wait_for_port(port)
    run_client(120, "redis-benchmark", "-p", str(port), "-q", "-P", "16", "-c", "20", "-d", "100",
               "-n", str(REDIS_REQUESTS), "-r", "5000",
               "-t", "set,get,lpush,lpop,rpush,sadd,lrange_100")
    answers = b"".join(redis_answer(port, *command) for command in
                       (("dbsize",), ("llen", "mylist"), ("debug", "digest")))
    redis_answer(port, "shutdown", "nosave")
    return answers


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def redis_workload():
    port = free_port()
    command = ("/usr/bin/redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", "",
               "--appendonly", "no", "--enable-debug-command", "yes", "--logfile", "/dev/null",
               "--dir", "/")
    return Workload("redis", PROGRAMS, 1, command, "redis-benchmark",
                    driver=lambda: drive_redis(port), brings_malloc=True)


def command_lines(inputs):
    """Name, threads, command."""
    python = ("/usr/bin/python3", "-S")
    return [
        *((f"python-{name}", 1, (*python, SCRIPTS / f"{name}.py"))
          for name in ("dicts", "lists", "strings", "documents")),
        ("sqlite", 1, ("/usr/bin/sqlite3", ":memory:", f".read {SCRIPTS / 'tables.sql'}")),
        ("gcc", 1, ("/usr/bin/gcc", "-O2", "-S", "-o", "-", inputs / "large.c")),
        ("clang++", 1, ("/usr/bin/clang++", "-O1", "-S", "-o", "-", SCRIPTS / "heavy.cpp")),
        ("lua", 1, ("/usr/bin/lua5.4", SCRIPTS / "words.lua")),
        ("ruby", 1, ("/usr/bin/ruby", SCRIPTS / "words.rb")),
        ("perl", 1, ("/usr/bin/perl", SCRIPTS / "words.pl")),
        ("z3", 1, ("/usr/bin/z3", SCRIPTS / "pigeons.smt2")),
        ("ghostscript", 1, ("/usr/bin/gs", "-q", "-dBATCH", "-dNOPAUSE", "-dSAFER",
                            "-sDEVICE=ppmraw", "-sOutputFile=-", SCRIPTS / "page.ps")),
        ("xmllint", 1, ("/usr/bin/xmllint", "--format", inputs / "large.xml")),
        ("node", 2, ("/usr/bin/node", SCRIPTS / "objects.js")),
    ]


def write_inputs(inputs):
    """What the programs read, but for the scripts, into the directory `inputs`."""
    inputs.mkdir(exist_ok=True)
    write_c_source(inputs / "large.c")
    write_xml(inputs / "large.xml")


def real_programs(inputs):
    """The programs; their inputs are, or will be, in the directory `inputs`."""
    environment = {"PYTHONMALLOC": "malloc", "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    workloads = [Workload(name, PROGRAMS, threads, tuple(map(str, command)), "Debian",
                          environment=environment)
                 for name, threads, command in command_lines(inputs)]
    workloads.append(redis_workload())
    absent = [one.command[0] for one in workloads if shutil.which(one.command[0]) is None]
    if absent:
        raise FileNotFoundError(2, "not installed", " ".join(absent))
    return workloads
