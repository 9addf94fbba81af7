"""The same attacks and the same ordinary work once more, as a normal user.

Most tests of this folder run as root where they are developed; the kernel treats root otherwise
in many places. Here they run in a process of a user without any rights, on a copy that this user
can read; each of them is reported by its own name.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

import orchestrator
import orchestrator_tools

HERE = Path(__file__).parent
TOP = HERE.parent.parent
USER = 61_337
"""Not in /etc/passwd: a user who owns nothing."""

PLAYED = (
    "test_walls.py",
    "test_walls_answers.py",
    "test_walls_decoding.py",
    "test_walls_kernel.py",
    "test_walls_processes.py",
    "test_untouched.py",
    "test_overblocking.py",
    "test_limits.py",
    "test_landlock.py",
    "test_live_output.py",
    "test_ordinary_programs.py",
    "test_many_toolboxes.py",
    "test_container.py",
    "../contracts/test_sandbox.py",
    "../egress/test_way_out.py",
)
NEEDED = ("issue-orchestrator", "hypothesis", "pytest", "pytest-asyncio", "trustme")
LEFT_OUT = {"anthropic"}
"""Large, and loaded by nothing that is played here."""

Cases = dict[tuple[str, str], list[ET.Element]]


def names_in(name: str) -> list[str]:
    """Return the names of the tests in a file, without importing it."""
    tree = ast.parse((HERE / name).read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    found = [node.name for node in tree.body if isinstance(node, kinds)]
    for node in tree.body:  # those of other files that are played once more
        found += [one.name for one in node.names] if isinstance(node, ast.ImportFrom) else []
    return [one for one in found if one.startswith("test_")]


def long_ones(name: str) -> set[str]:
    """Return the names of the tests in a file that run with the heavy ones only."""
    tree = ast.parse((HERE / name).read_text(encoding="utf-8"))
    found = (one for one in tree.body if isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef)))
    return {
        one.name
        for one in found
        if any(ast.unparse(mark) == "pytest.mark.heavy" for mark in one.decorator_list)
    }


LONG = {name for file in PLAYED for name in long_ones(file)}
NAMES = [(Path(file).stem, name) for file in PLAYED for name in names_in(file) if name not in LONG]
pytestmark = pytest.mark.xdist_group("a normal user")


def distributions(names: tuple[str, ...]) -> dict[str, metadata.Distribution]:
    """Return installed packages and all that they need."""
    found: dict[str, metadata.Distribution] = {}
    waiting = list(names)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found or name in LEFT_OUT:
            continue
        try:
            found[name] = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # needed on another system or by an older Python
        for line in found[name].requires or []:
            wanted = re.match(r"[\w.-]+", line)
            if wanted and "extra ==" not in line:
                waiting.append(wanted.group())
    return found


def copy_all(folder: Path) -> None:
    """Copy package, tests and what they import to where anyone can read it."""
    packages = folder / "packages"
    for dist in distributions(NEEDED).values():
        for file in dist.files or []:
            if ".." in file.parts or file.suffix == ".pyc":
                continue
            target = packages / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(str(file.locate()), target)
    out = shutil.ignore_patterns("__pycache__")
    for package in (orchestrator, orchestrator_tools):
        source = Path(str(package.__file__)).parent
        shutil.copytree(source, packages / source.name, ignore=out, dirs_exist_ok=True)
    (folder / "tests").mkdir()
    for name in ("conftest.py", "builders.py", "pyproject.toml"):
        source = TOP / name if name == "pyproject.toml" else TOP / "tests" / name
        shutil.copy2(source, folder / source.relative_to(TOP))
    for name in ("walls", "contracts", "egress"):
        shutil.copytree(HERE.parent / name, folder / "tests" / name, ignore=out)
    (folder / "bin").mkdir()
    rg = shutil.which("rg") or f"{sys.prefix}/bin/rg"
    shutil.copy2(rg, folder / "bin" / "rg")


def interpreter() -> str:
    """Return an interpreter of this very version that a normal user can run, or skip."""
    wanted = ".".join(map(str, sys.version_info[:2]))
    for program in (os.path.realpath(sys.executable), f"/usr/bin/python{wanted}"):
        code = "import sys; print('.'.join(map(str, sys.version_info[:2])))"
        try:
            said = subprocess.run(
                [program, "-I", "-c", code], user=USER, group=USER, extra_groups=[],
                cwd="/", capture_output=True, check=False, text=True,
            )  # fmt: skip
        except OSError:
            continue
        if said.returncode == 0 and said.stdout.strip() == wanted:
            return program
    pytest.skip(f"NOT TESTED AS A NORMAL USER: no Python {wanted} outside of root's own folders")


@pytest.fixture(scope="module")
def cases(bwrap: str) -> Iterator[Cases]:
    """Return what each test said when a normal user ran it."""
    if os.getuid() != 0:
        pytest.skip("not root: the tests of this folder ran as a normal user by themselves")
    program = interpreter()
    folder = Path(tempfile.mkdtemp(prefix="walls-", dir="/tmp"))
    try:
        folder.chmod(0o755)
        copy_all(folder)
        own = folder / "own"
        own.mkdir()
        os.chown(own, USER, USER)
        yield by_name(play(program, folder, own))
    finally:
        subprocess.run(["rm", "-rf", str(folder)], check=True)


def play(program: str, folder: Path, own: Path) -> ET.Element:
    """Run the tests as a normal user and return the report."""
    argv = [
        program,
        "-B",
        "-m",
        "pytest",
        "-q",
        "-m",
        "not heavy",
        "-p",
        "no:cacheprovider",
        "-p",
        "pytest_asyncio.plugin",
    ]
    argv += [f"--basetemp={own}/tmp", f"--junitxml={own}/report.xml"]
    environment = {
        "PATH": f"{folder}/bin:/usr/local/bin:/usr/bin:/bin",
        "PYTHONPATH": f"{folder}/packages:{folder}",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "HOME": str(own),
        "LANG": "C.UTF-8",
    }
    ran = subprocess.run(
        [*argv, *(os.path.normpath(f"tests/walls/{name}") for name in PLAYED)],
        user=USER, group=USER, extra_groups=[], umask=0o022,
        cwd=folder, env=environment, capture_output=True, check=False, text=True,
    )  # fmt: skip
    report = own / "report.xml"
    assert ran.returncode in {0, 1} and report.exists(), (
        f"the tests did not run:\n{ran.stdout[-3000:]}\n{ran.stderr[-3000:]}"
    )
    return ET.parse(report).getroot()


def by_name(report: ET.Element) -> Cases:
    """Group the cases of a report by file and test."""
    found: Cases = {}
    for case in report.iter("testcase"):
        file = str(case.get("classname")).rpartition(".")[2]
        name = str(case.get("name")).partition("[")[0]
        found.setdefault((file, name), []).append(case)
    return found


@pytest.mark.parametrize(("file", "name"), NAMES, ids=[f"{file}-{name}" for file, name in NAMES])
def test_as_a_normal_user(file: str, name: str, cases: Cases) -> None:
    """What holds for root holds for a user without rights."""
    played = cases.get((file, name), [])
    assert played, "the test did not run"
    broken = [
        f"{case.get('name')}: {problem.get('message', '')}\n{(problem.text or '')[-800:]}"
        for case in played
        for problem in (*case.findall("failure"), *case.findall("error"))
    ]
    assert not broken, "\n".join(broken)
    skipped = [case.find("skipped") for case in played]
    if all(one is not None for one in skipped):
        pytest.skip("; ".join({str(one.get("message")) for one in skipped if one is not None}))
