"""What each program is made to do: a function a program, which returns output to compare."""

import hashlib
import json
import pathlib
import re
import shlex
import shutil
import subprocess
import time

from session import Failure, Skip, tail


def digests_of(directory, pattern):
    """A line with the digest of each file that a program has made."""
    return "".join(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()} {path.relative_to(directory)}\n"
        for path in sorted(directory.rglob(pattern)) if path.is_file())


def preload(session):
    """Not a comparison: that preloading does take effect, and that malloc is the library's."""
    mapped = session.run("sed", "-n", "/[.]so/s|.*/||p", "/proc/self/maps")
    bindings = session.work / "bindings"
    session.run("sort", "/dev/null",
                environment={"LD_DEBUG": "bindings", "LD_DEBUG_OUTPUT": str(bindings)})
    bound = "".join(path.read_text() for path in session.work.glob("bindings*"))
    if session.library is None:
        if "buddymalloc" in mapped:
            raise Failure("a program is preloaded that shouldn't be")
        return ""
    name = session.library.name
    if pathlib.Path(session.library).resolve().name not in mapped:
        raise Failure(f"{name} is not in the memory map\n{mapped}")
    for symbol in ("malloc", "free", "calloc", "realloc"):
        if not re.search(rf" to \S*{re.escape(name)} .*`{symbol}'", bound):
            raise Failure(f"nothing binds {symbol} to {name}")
    return ""


# The tests that began, the number of them, and what they came to; not what they print meanwhile.
PYTHON_RESULTS = re.compile(r"^(\w+ \(\S+\) \.\.\.|Ran \d+ tests|OK.*|FAILED.*|All .*)",
                            re.MULTILINE)


def run_python(session, tests, environment):
    """Python's own tests, but for those that wait for a timeout."""
    try:
        session.run("python3", "-c", "import test.test_json, test.test_re")
    except Failure:
        raise Skip("python3's own tests are not installed (libpython3.*-testsuite)") from None
    output = session.run("python3", "-m", "test", "-v", "--ignore", "*timeout*", *tests,
                         environment=environment)
    return "\n".join(match[0] for match in PYTHON_RESULTS.finditer(output)) + "\n"


def python3(session):
    return run_python(session, ["test_json", "test_dict", "test_re"], {})


def python3_malloc(session):
    """Every object of Python's by malloc, not by its own allocator; in threads too."""
    return run_python(session, ["test_json", "test_dict", "test_threading", "test_re"],
                      {"PYTHONMALLOC": "malloc"})


KEPT_FLAGS = ("-I", "-D", "-std", "-O", "-f")


def compile_project(session, compiler, part):
    """Each source of a part of this project's library once, by the flags of its build but for the
    warnings: object files and a linked library, byte for byte."""
    compiled = set()
    commands = json.loads((session.build_root / "compile_commands.json").read_text())
    objects = session.work / "objects"
    objects.mkdir()
    for command in commands:
        source = (session.build_root / command["file"]).resolve()
        if source.parts[-3:-1] != ("src", part) or source.suffix != ".c" or source in compiled:
            continue
        compiled.add(source)
        flags = [flag for flag in shlex.split(command["command"]) if flag.startswith(KEPT_FLAGS)]
        made = objects / (re.sub(r"\W", "_", command["output"]) + ".o")
        session.run(compiler, "-w", "-g", "-fPIC", *flags, "-c", source, "-o", made,
                    cwd=session.build_root)
    session.run(compiler, "-shared", "-Wl,--allow-multiple-definition", "-o", objects / "all.so",
                *sorted(objects.glob("*.o")))
    return digests_of(objects, "*")


def gcc(session):
    return compile_project(session, "gcc", "core")


def clang(session):
    return compile_project(session, "clang", "api")


def history(commits, files_a_commit):
    """A stream for git fast-import: text files that change, deterministic."""
    for commit in range(commits):
        message = f"commit {commit}\n"
        yield (f"commit refs/heads/main\ncommitter A <a@example.org> {10**9 + commit} +0000\n"
               f"data {len(message)}\n{message}")
        for number in range(files_a_commit):
            name = commit * 7 % 50 * 10 + number
            lines = (f"line {i} of {name}: {(i * commit + number) % 97}\n" for i in range(120))
            text = "".join(lines)
            yield f"M 644 inline d{name % 13}/f{name}\ndata {len(text)}\n{text}\n"


def git(session):
    """A history of some 2500 objects: cloned, packed anew, checked."""
    session.run("git", "init", "-q", "-b", "main", "origin")
    session.run("git", "-C", "origin", "fast-import", "--quiet",
                given="".join(history(commits=200, files_a_commit=8)))
    session.run("git", "clone", "-q", "--no-local", "origin", "copy")
    here = session.work / "copy"
    session.run("git", "gc", "-q", "--prune=now", cwd=here)
    session.run("git", "repack", "-q", "-a", "-d", "-f", "--window=30", cwd=here)
    return "".join([
        session.run("git", "fsck", "--full", "--strict", "--no-progress", cwd=here),
        session.run("git", "rev-list", "--objects", "--all", cwd=here),
        session.run("git", "log", "--stat", "-M", "-C", cwd=here),
        session.run("git", "blame", "-w", "-C", "d0/f0", cwd=here),
        session.run("git", "status", "--short", cwd=here),
    ])


def redis_commands():
    for i in range(5000):
        yield f"SET key:{i} {'v' * (i % 700)}{i}"
        yield f"RPUSH list:{i % 20} {i} {'x' * (i % 90)}"
        yield f"HSET hash:{i % 30} field:{i} {'y' * (i % 150)}"
        yield f"ZADD sorted:{i % 5} {i * 7919 % 1000} member:{i}"
        yield f"APPEND text:{i % 10} {'z' * (i % 100)}"
    for i in range(0, 5000, 3):
        yield f"DEL key:{i}"
        yield f"HDEL hash:{i % 30} field:{i}"
        yield f"LPOP list:{i % 20}"


def redis_queries():
    yield "DBSIZE"
    yield from (f"GET key:{i}" for i in range(5000))
    yield from (f"LRANGE list:{i} 0 -1" for i in range(20))
    yield from (f"ZRANGE sorted:{i} 0 -1 WITHSCORES" for i in range(5))
    yield from (f"GET text:{i}" for i in range(10))
    yield from (f"HGET hash:{i % 30} field:{i}" for i in range(5000))


def start_redis(session):
    server = session.start("redis-server", "--port", 0, "--unixsocket", "redis.sock",
                           "--save", "", "--daemonize", "no", "--dbfilename", "dump.rdb",
                           "--io-threads", 2, "--logfile", "redis.log")
    for _ in range(300):
        if server.poll() is not None:
            break
        try:
            if session.run("redis-cli", "-s", "redis.sock", "ping") == "PONG\n":
                return server
        except Failure:
            pass
        time.sleep(0.1)
    server.kill()
    raise Failure("redis-server doesn't answer\n" + tail((session.work / "redis.log").read_text()))


def redis(session):
    """Load from redis-benchmark, then data that must come back, also from a saved file."""
    def client(lines):
        return session.run("redis-cli", "-s", "redis.sock", given="\n".join(lines) + "\n")

    for program in ("redis-server", "redis-benchmark", "redis-cli"):
        session.find(program)
    server = start_redis(session)
    try:
        session.run("redis-benchmark", "-s", "redis.sock", "-q", "-n", 2000, "-P", 16, "-c", 20,
                    "-d", 300, "-r", 10000)
        output = client(["FLUSHALL", *redis_commands(), *redis_queries(), "SAVE"])
        client(["FLUSHALL ASYNC", "BGREWRITEAOF", "SHUTDOWN NOSAVE"])
        session.finish(server, timeout=20)
        server = start_redis(session)
        output += client(redis_queries())
        client(["SHUTDOWN NOSAVE"])
        session.finish(server, timeout=20)
    finally:
        server.kill()
    return output


def sqlite3_in_memory(session):
    script = (session.inputs / "fill.sql").read_text()
    return session.run("sqlite3", ":memory:", given=script)


def sqlite3(session):
    script = (session.inputs / "fill.sql").read_text()
    in_file = session.run("sqlite3", session.work / "filled.db", given=script)
    return in_file + sqlite3_in_memory(session)


def perl(session):
    return session.run("perl", session.inputs / "structures.pl")


def node(session):
    """Threads that compute and send one another what they have made. V8 likes to reserve the
    addresses right above the break for its machine code, where the break can't pass: the sbrk
    backend gets a V8 that makes none."""
    flags = ["--jitless"] if session.backend == "sbrk" else []
    return session.run("node", *flags, session.inputs / "workers.js")


def cmake(session):
    """A small project, configured, built by ninja and tested."""
    session.find("ninja")
    shutil.copytree(session.inputs / "cmake_project", session.work / "project")
    configured = session.run("cmake", "-G", "Ninja", "-S", "project", "-B", "made",
                             "-DCMAKE_BUILD_TYPE=Release")
    configured = re.sub(r" \(\d+\.\d+s\)", "", configured)
    session.run("cmake", "--build", "made")
    session.run("cmake", "-E", "chdir", "made", "ctest")
    return (configured + session.run(session.work / "made" / "words", "one", "seven") +
            digests_of(session.work / "made", "*.o") + digests_of(session.work / "made", "*.a"))


def ninja(session):
    """A graph of many edges, loaded and listed; some of them built."""
    edges = ["rule copy\n  command = cp $in $out\n"]
    edges += [f"build d{i % 100}/o{i}: copy {f'd{i // 2 % 100}/o{i // 2}' if i > 1 else 'in'}\n"
              for i in range(1, 15000)]
    (session.work / "build.ninja").write_text("".join(edges))
    (session.work / "in").write_text("input\n")
    some = [f"d{i % 100}/o{i}" for i in range(1, 200)]
    built = session.run("ninja", "-v", *some)
    planned = session.run("ninja", "-n", "-v", "-j1")
    again = session.run("ninja", *some)
    graph = session.run("ninja", "-t", "graph", "d10/o410")
    graph = re.sub(r"0x[0-9a-f]+", "", graph)
    # What runs at the same time is listed in the order of its end.
    built = "".join(sorted(re.sub(r"^\[\d+/\d+\]", "", built, flags=re.MULTILINE)
                           .splitlines(keepends=True)))
    return (built + planned + again + graph + session.run("ninja", "-t", "targets", "all") +
            digests_of(session.work, "o*"))


def stress_ng(session):
    """Its own verification is the check; the output is times."""
    output = session.run("stress-ng", "--malloc", 2, "--verify", "--malloc-ops", 100000,
                         "--timeout", 30, "--temp-path", session.work, stderr=subprocess.STDOUT)
    if re.search(r"\bfail", re.sub(r"\bfailed: 0\b", "", output)):
        raise Failure(f"stress-ng found errors\n{tail(output)}")
    return ""
