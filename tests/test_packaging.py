"""The wheel: its top-level names, its data, and that an installed one works anywhere."""

from __future__ import annotations

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the checkout."""
    target = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir"]
    subprocess.run([*command, str(target), str(PROJECT)], check=True, capture_output=True)
    (found,) = target.glob("*.whl")
    return found


def test_top_level_names(wheel: Path) -> None:
    """It installs two packages and its metadata: nothing called tools or agents."""
    names = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    info = {name for name in names if name.endswith(".dist-info")}
    assert names - info == {"orchestrator", "orchestrator_tools"}
    assert len(info) == 1


def test_data_is_inside(wheel: Path) -> None:
    """Agents, settings, prices, schemas and type markers come along."""
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {
        "orchestrator/bundle/config.yaml",
        "orchestrator/bundle/agents/backend-engineer.md",
        "orchestrator/batches/page.css",
        "orchestrator/prices.yaml",
        "orchestrator/routing/choose.md",
        "orchestrator/routing/trades.json",
        "orchestrator/py.typed",
        "orchestrator_tools/py.typed",
        "orchestrator_tools/specs.json",
        "orchestrator/sandboxes/selftest.py",
    } <= names


def test_there_is_no_main_module(wheel: Path) -> None:
    """``python -m orchestrator`` would import from the folder one stands in, so it is no way in."""
    assert "orchestrator/__main__.py" not in zipfile.ZipFile(wheel).namelist()


def test_an_installed_wheel_finds_its_agents(wheel: Path, tmp_path: Path) -> None:
    """Installed away from the checkout, the bundled agents and settings are found."""
    venv.create(tmp_path / "venv", with_pip=False, symlinks=True)
    site = next((tmp_path / "venv" / "lib").glob("python*/site-packages"))
    zipfile.ZipFile(wheel).extractall(site)
    import anyio

    deps = Path(anyio.__file__).parents[1]
    (site / "deps.pth").write_text(f"{deps}\n", encoding="utf-8")
    code = (
        "import orchestrator; from orchestrator.assembly.machine import bundled;"
        "print(orchestrator.__file__);"
        "print(bundled('config.yaml')); print(len(list(bundled('agents').glob('*.md'))))"
    )
    python = tmp_path / "venv" / "bin" / "python"
    done = subprocess.run(
        [str(python), "-I", "-c", code], capture_output=True, text=True, check=True
    )
    where, config, count = done.stdout.split()
    assert where.startswith(str(site))
    assert config == str(site / "orchestrator" / "bundle" / "config.yaml")
    assert int(count) == len(list((PROJECT / "agents").glob("*.md")))
