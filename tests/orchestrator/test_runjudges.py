"""Who judges runs: told once for all of them, and fresh gates for each judging."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import pytest

from orchestrator.assembly import judges
from orchestrator.assembly.runjudges import RunJudges
from orchestrator.errors import ConfigError
from orchestrator.ports import Change
from orchestrator.records import Verdict
from orchestrator.repository import locate
from orchestrator.settings import Config
from tests.builders import a_run
from tests.runs.conftest import git


class OwnGate:
    """A program's own."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def judge(self, change: Change) -> Verdict:
        """Never asked here."""
        raise AssertionError(change)


def run_judges(folder: Path, *given: OwnGate) -> RunJudges:
    """Return who judges the runs of a small repository."""
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch", "main")
    (folder / "pyproject.toml").write_text("[tool.ruff]\n", encoding="utf-8")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "base")
    repository = locate(folder)

    def never(*_: object) -> NoReturn:
        raise AssertionError("no review is wanted")

    return RunJudges(
        Config(),
        repository=repository,
        base=repository.located.head,
        given=given,
        agents=dict,
        model_of=never,
        client_of=never,
    )


def test_every_judging_has_gates_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What gates learn in one judging is not for the next; their names cost nothing to ask for."""
    ours = run_judges(tmp_path / "repo", OwnGate("own"))
    judged = ours.of(a_run())
    first, second = judged.gates(), judged.gates()
    assert [one.name for one in first] == [one.name for one in second]
    assert first[-1].name == "own" and first[-1] is second[-1]
    assert not {id(one) for one in first[:-1]} & {id(one) for one in second[:-1]}
    assert "lint-ruff" in judged.names(), "the base sets it up"
    assert list(judged.names()) == [one.name for one in first]

    def never(*_: object) -> None:
        raise AssertionError("they are known")

    monkeypatch.setattr(judges, "gates_of", never)
    assert ours.of(a_run(run_id="8-other")).names() == judged.names()


def test_two_gates_of_one_name_are_told_each_time(tmp_path: Path) -> None:
    """What is wrong stays wrong, whoever asks next."""
    ours = run_judges(tmp_path / "repo", OwnGate("same"), OwnGate("same"))
    for _ in range(2):
        with pytest.raises(ConfigError, match="two gates are called 'same'"):
            ours.names()


@pytest.mark.parametrize("name", ["", None, 5, "two\nlines", "\udc80"], ids=ascii)
def test_a_gate_without_a_name_that_can_be_told_is_refused(tmp_path: Path, name: str) -> None:
    """What a verdict is recorded under is text in one line, else no run is begun."""
    ours = run_judges(tmp_path / "repo", OwnGate(name))
    with pytest.raises(ConfigError, match="a gate cannot be called"):
        ours.names()
