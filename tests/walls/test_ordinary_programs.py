"""The programs of an ordinary working day run behind the walls as they would without them."""

from __future__ import annotations

import shutil
from importlib import metadata
from pathlib import Path

import pytest

from orchestrator import OpenToolbox
from tests.walls.conftest import OpenHere, OpenRepository
from tests.walls.inside import done, sh

THREADS = """
import concurrent.futures, queue, threading

box, lock, total = queue.Queue(), threading.Lock(), 0

def add(number):
    global total
    with lock:
        total += number
    box.put(number)

with concurrent.futures.ThreadPoolExecutor(32) as pool:
    list(pool.map(add, range(200)))
print(total, box.qsize())
"""
MAKEFILE = """\
all: one two
	cat one two > both
one two:
	echo $@ > $@
"""
NODE = """
const fs = require('fs'), http = require('http'), {Worker} = require('worker_threads');
const {execFileSync} = require('child_process');
fs.writeFileSync('made.txt', execFileSync('echo', ['a child']));
new Worker('require("worker_threads").parentPort.postMessage(7)', {eval: true}).on('message', m => {
  const server = http.createServer((_, answer) => answer.end('served ' + m)).listen(0, '127.0.0.1', () =>
    http.get({host: '127.0.0.1', port: server.address().port}, got => {
      got.on('data', data => { console.log(String(data)); server.close(); });
    }));
});
"""
WHEEL = """
import zipfile
info = "small-1.0.dist-info"
with zipfile.ZipFile("small-1.0-py3-none-any.whl", "w") as wheel:
    wheel.writestr("small.py", "WORD = 'installed'\\n")
    wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\\nName: small\\nVersion: 1.0\\n")
    wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nGenerator: t\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
    wheel.writestr(f"{info}/RECORD", f"small.py,,\\n{info}/METADATA,,\\n{info}/WHEEL,,\\n{info}/RECORD,,\\n")
"""
PYTEST_NEEDS = ("pytest", "pluggy", "iniconfig", "packaging", "pygments")
SYSTEM = "/usr/local/bin:/usr/bin:/bin"


def needs(program: str) -> None:
    """Skip, aloud, where the machine does not have a program."""
    if shutil.which(program, path=SYSTEM) is None:
        pytest.skip(f"NOT TESTED: this machine has no {program}")


async def a_file(toolbox: OpenToolbox, name: str, content: str) -> None:
    result = await toolbox.call("Write", {"file_path": name, "content": content})
    assert not result.is_error, result.text


@pytest.mark.asyncio
async def test_pytest_runs(work: Path, open_here: OpenHere) -> None:
    """A real pytest collects, runs, captures, uses temporary folders, and tells a failure."""
    for name in PYTEST_NEEDS:
        for file in metadata.distribution(name).files or []:
            if ".." not in file.parts and file.suffix == ".py":
                target = work / "vendored" / file
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(str(file.locate()), target)
    run = "PYTHONPATH=vendored python3 -m pytest -q -p no:cacheprovider test_a.py"
    async with open_here() as toolbox:
        test = "def test_a(tmp_path, capfd):\n    (tmp_path / 'f').write_text('x')\n    {}\n"
        await a_file(toolbox, "test_a.py", test.format("assert True"))
        assert "1 passed" in await done(toolbox, run)
        await a_file(toolbox, "test_a.py", test.format("assert False"))
        failed = await sh(toolbox, run)
    assert failed.details["exit_code"] == 1
    assert "1 failed" in failed.text


@pytest.mark.asyncio
async def test_threads_work(open_here: OpenHere) -> None:
    """Thread pools, locks and queues work."""
    async with open_here() as toolbox:
        await a_file(toolbox, "threads.py", THREADS)
        assert await done(toolbox, "python3 threads.py") == "19900 200"


@pytest.mark.asyncio
async def test_make_works(open_here: OpenHere) -> None:
    """``make -j`` builds what is missing, and nothing the second time."""
    needs("make")
    async with open_here() as toolbox:
        await a_file(toolbox, "Makefile", MAKEFILE)
        await done(toolbox, "make -s -j4 && touch both")
        assert await done(toolbox, "cat both") == "one\ntwo"
        assert "echo" not in await done(toolbox, "make -j4 one")


@pytest.mark.asyncio
async def test_node_works(open_here: OpenHere) -> None:
    """Node writes files, starts children and workers, and serves itself over loopback."""
    needs("node")
    async with open_here() as toolbox:
        await a_file(toolbox, "a.js", NODE)
        assert await done(toolbox, "node a.js && cat made.txt") == "served 7\na child"


@pytest.mark.asyncio
async def test_sqlite_works(open_here: OpenHere) -> None:
    """A database in the folder is written by two processes, with a write-ahead log too."""
    code = (
        "import sqlite3\n"
        "for mode in ('wal', 'delete'):\n"
        "    one, other = sqlite3.connect('a.db'), sqlite3.connect('a.db')\n"
        "    print(one.execute(f'pragma journal_mode={mode}').fetchone()[0])\n"
        "    one.execute('create table if not exists t (n)')\n"
        "    with one: one.execute('insert into t values (1)')\n"
        "    with other: other.execute('insert into t values (2)')\n"
        "    print(one.execute('select sum(n) from t').fetchone()[0])\n"
        "    one.close(); other.close()\n"
    )
    async with open_here() as toolbox:
        await a_file(toolbox, "a.py", code)
        assert (await done(toolbox, "python3 a.py")).split() == ["wal", "3", "delete", "6"]


@pytest.mark.asyncio
async def test_archives_work(open_here: OpenHere) -> None:
    """tar, gzip and cp -a keep modes, times and links."""
    steps = (
        "mkdir -p d/e && echo x > d/e/f && chmod 751 d/e/f && ln -s e/f d/l && "
        "touch -d '2001-02-03 04:05:06' d/e/f && tar czf a.tgz d && mkdir out && tar xzf a.tgz -C out "
        "&& cp -a d copy && for one in out/d copy; do "
        "stat -c '%a %Y' $one/e/f | grep -q '^751 981173106$' && readlink $one/l; done"
    )
    async with open_here() as toolbox:
        assert (await done(toolbox, steps)).split() == ["e/f", "e/f"]


@pytest.mark.asyncio
async def test_a_local_wheel_is_installed(open_here: OpenHere) -> None:
    """pip in a virtual environment installs a wheel from the folder, without a network."""
    async with open_here() as toolbox:
        made = await sh(toolbox, "python3 -m venv .venv")
        if made.is_error:
            assert "ensurepip" in made.text, made.text
            pytest.skip("NOT TESTED: this machine's python3 makes no environments with pip")
        await a_file(toolbox, "wheel.py", WHEEL)
        install = ".venv/bin/pip install -q --no-index ./small-1.0-py3-none-any.whl"
        await done(toolbox, f"python3 wheel.py && {install}")
        said = await done(toolbox, ".venv/bin/python -c 'import small; print(small.WORD)'")
    assert said == "installed"


@pytest.mark.asyncio
async def test_a_git_work_tree_within_the_workspace(
    repository: Path, open_repository: OpenRepository
) -> None:
    """A second work tree inside the workspace is committed in, and its branch merged."""
    steps = (
        "git worktree add -q -b side .side && cd .side && echo side > side.txt && git add side.txt "
        "&& git commit -qm side && cd .. && git merge -q --no-edit side && git worktree list | wc -l "
        "&& git worktree remove .side && git branch -d side"
    )
    async with open_repository() as workspace:
        assert (await done(workspace.toolbox, steps)).splitlines()[0] == "2"
        commit = await workspace.collect("refs/heads/out")
    listed = (repository / ".git" / "refs/heads/out").read_text("utf-8").strip()
    assert listed == commit


@pytest.mark.asyncio
async def test_large_commits_come_out(repository: Path, open_repository: OpenRepository) -> None:
    """A commit of many files and one of many megabytes are made, stashed over, and collected."""
    steps = (
        "mkdir many && (cd many && seq -f 'file-%04g' 2000 | xargs touch && for n in 1 2 3; do "
        "echo $n > file-000$n; done) && git add -A && git commit -qm many && "
        "head -c 20000000 /dev/urandom > large.bin && git add large.bin && git stash -q && "
        "test ! -e large.bin && git stash pop -q --index && git commit -qm large && git fsck --no-progress"
    )
    async with open_repository() as workspace:
        await done(workspace.toolbox, steps)
        commit = await workspace.collect("refs/heads/out")
        size = await done(workspace.toolbox, "git cat-file -s HEAD:large.bin")
        head = await done(workspace.toolbox, "git rev-parse HEAD")
    assert size == "20000000"
    assert commit == head


@pytest.mark.asyncio
async def test_a_compiled_library_is_loaded(open_here: OpenHere) -> None:
    """A shared library built in the folder is loaded by Python; C++ runs with threads."""
    needs("gcc")
    async with open_here() as toolbox:
        await a_file(toolbox, "a.c", "int twice(int n) { return 2 * n; }\n")
        code = "import ctypes; print(ctypes.CDLL('./a.so').twice(21))"
        assert await done(toolbox, f'gcc -shared -fPIC -o a.so a.c && python3 -c "{code}"') == "42"
