"""The public face: what programs may import, and that it costs nothing until it is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import orchestrator


@pytest.mark.parametrize("name", orchestrator.__all__)
def test_every_public_name_is_there(name: str) -> None:
    """A name of ``__all__`` can be imported and is documented."""
    found = getattr(orchestrator, name)
    assert found is not None
    assert getattr(found, "__doc__", None) or name in {"Event", "Signal"}


def test_all_is_what_is_exposed() -> None:
    """``dir`` shows the public names and no others."""
    assert sorted(dir(orchestrator)) == sorted(orchestrator.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    """A name that does not exist says so."""
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        orchestrator.nonsense  # noqa: B018 - the access is the test


def test_importing_it_loads_nothing() -> None:
    """``import orchestrator`` loads none of its own rooms and no vendor."""
    code = "import sys, orchestrator; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not {name for name in loaded if name.startswith("orchestrator.")}
    assert not loaded & {"anyio", "httpx2", "pydantic", "yaml", "click", "git", "structlog"}
