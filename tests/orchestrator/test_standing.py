"""A git that stays: its answers, whoever asks, and how rarely git is started then."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from orchestrator import comparing
from orchestrator.comparing import AS_PLAIN, COUNTED, PATCHED, Comparing
from orchestrator.errors import WorkspaceError
from orchestrator.hostgit import environment
from orchestrator.repository import Repository, locate
from orchestrator.sharedanswer import SharedAnswer
from orchestrator.standing import NoAnswer, StandingGit
from tests.builders import a_commit, git
from tests.orchestrator.git_starts import head_of, starts, with_folders


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A repository with one commit."""
    return with_folders(tmp_path / "repo")


# -- the process that stays


def test_an_answer_that_cannot_be_used_ends_the_process(repo: Path) -> None:
    """What is left of one answer is never taken for the next one's."""
    asked = StandingGit(repo / ".git", "cat-file", "--batch-check")

    def broken(_: object) -> str:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        asked.ask(b"HEAD\n", broken)
    assert asked.pid is None
    said = asked.ask(b"HEAD^{tree}\n", lambda output: output.readline())
    assert said.split()[1] == b"tree"
    asked.close()
    assert asked.pid is None


def test_nobody_waits_for_long(repo: Path) -> None:
    """Who has no patience is told that another is asking."""
    asked = StandingGit(repo / ".git", "cat-file", "--batch-check")
    begun, go_on = threading.Event(), threading.Event()

    def slow(_: object) -> None:
        begun.set()
        go_on.wait()

    other = threading.Thread(target=asked.ask, args=(b"", slow))
    other.start()
    begun.wait()
    with pytest.raises(NoAnswer):
        asked.ask(b"HEAD\n", lambda output: output.readline(), patience_s=0)
    go_on.set()
    other.join()
    asked.close()


def test_many_who_ask_at_once_get_one_answer_that_is_not_older_than_their_question() -> None:
    """The answer under way is not theirs; the next one is, for all of them."""
    begun: list[int] = []
    first, go_on = threading.Event(), threading.Event()

    def question() -> int:
        begun.append(len(begun) + 1)
        number = len(begun)
        first.set()
        go_on.wait()
        return number

    class Seen:
        """A lock that tells how often it was left."""

        def __init__(self) -> None:
            self.lock, self.left = threading.Lock(), threading.Semaphore(0)

        def __enter__(self) -> None:
            self.lock.acquire()

        def __exit__(self, *_: object) -> None:
            self.lock.release()
            self.left.release()

    shared = SharedAnswer(question)
    seen = Seen()
    shared._counting = seen  # type: ignore[assignment]
    with ThreadPoolExecutor(9) as threads:
        one = threads.submit(shared.answer)
        first.wait()
        others = [threads.submit(shared.answer) for _ in range(8)]
        for _ in range(10):  # the first one leaves it twice
            seen.left.acquire()
        go_on.set()
        assert one.result() == 1
        assert {each.result() for each in others} == {2}
    assert shared.answer() == 3


def test_a_question_that_fails_fails_for_who_asked_it() -> None:
    """The next one asks again."""
    answers = iter([None, 7])

    def question() -> int:
        found = next(answers)
        if found is None:
            raise OSError("no answer")
        return found

    shared = SharedAnswer(question)
    with pytest.raises(OSError, match="no answer"):
        shared.answer()
    assert shared.answer() == 7


# -- comparing


def one_shot(repo: Path, arguments: tuple[str, ...], one: str, other: str) -> bytes:
    asked = ["git", "diff-tree", *arguments, one, other, "--"]
    env = environment(AS_PLAIN, GIT_DIR=str(repo / ".git"))
    return subprocess.run(asked, cwd=repo, env=env, capture_output=True, check=True).stdout


def tree_of(repo: Path, commit: str = "HEAD") -> str:
    return git(repo, "rev-parse", f"{commit}^{{tree}}")


@pytest.mark.parametrize("arguments", [PATCHED, COUNTED])
def test_a_comparison_is_git_s(repo: Path, arguments: tuple[str, ...]) -> None:
    """Whatever names and contents are, one after the other."""
    (repo / "d").mkdir()
    (repo / "d" / "f").write_text("1\n")
    a_commit(repo, {"n\nl": "q\n", "bin": "x\0y\n", "no end": "z", "k": "1\n"})
    (repo / "d" / "f").unlink()
    (repo / "d").rmdir()
    (repo / "d").symlink_to("a.txt")
    (repo / "k").unlink()
    (repo / "k").symlink_to("a.txt")
    (repo / "a.txt").chmod(0o755)
    said = "diff --git a/x b/x\nend-0\n"
    a_commit(repo, {"n\nl": "r\n", "bin": "x\0z\n", "no end": "y", "a b": said})
    told = Comparing(repo / ".git", *arguments, settings=AS_PLAIN)
    commits = ["HEAD~2", "HEAD~1", "HEAD"]
    for older in commits:
        for newer in commits:
            one, other = tree_of(repo, older), tree_of(repo, newer)
            assert told.between(one, other) == one_shot(repo, arguments, one, other)
    told.close()


def test_what_cannot_be_compared_is_not_told(repo: Path) -> None:
    """An object that is missing, or a process that was killed: git is asked anew."""
    told = Comparing(repo / ".git", *PATCHED)
    before = tree_of(repo)
    a_commit(repo, {"a.txt": "two\n"})
    after = tree_of(repo)
    assert told.between(before, "1" * 40) is None
    assert told.between(before, after)
    assert told._git.pid is not None
    os.kill(told._git.pid, signal.SIGKILL)
    found = [told.between(before, after) for _ in range(2)]
    assert found[1] == one_shot(repo, PATCHED, before, after)
    gone = git(repo, "rev-parse", "HEAD:a.txt")
    (repo / ".git/objects" / gone[:2] / gone[2:]).unlink()
    told.close()
    assert told.between(before, after) is None
    with pytest.raises(WorkspaceError):
        locate(repo).patch(before, after)
    told.close()


def test_a_large_comparison_ends_the_process(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would keep the memory that it took."""
    monkeypatch.setattr(comparing, "LARGE", 100)
    before = tree_of(repo)
    a_commit(repo, {"a.txt": "two\n" * 1000})
    told = Comparing(repo / ".git", *PATCHED)
    assert told.between(before, tree_of(repo)) == one_shot(repo, PATCHED, before, tree_of(repo))
    assert told._git.pid is None


# -- how often git is started


def test_what_a_run_s_end_asks_starts_no_git_but_for_what_must_be(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second run's questions are answered by what the first one's have started."""
    pairs = []
    for number in range(2):
        before = head_of(repo)
        pairs.append((before, a_commit(repo, {"src/part1/f1.py": f"new {number}\n"})))
    repository = locate(repo)
    started = starts(repo.parent, monkeypatch)
    _ask_all(repository, *pairs[0], run="r1")
    assert sorted(started.read_text().split()) == [
        "cat-file",
        "config",
        "diff-tree",
        "diff-tree",
        "status",
        "update-ref",
    ]
    started.unlink()
    _ask_all(repository, *pairs[1], run="r2")
    assert started.read_text().split() == ["config", "status"]
    repository.close()
    assert git(repo, "for-each-ref", "refs/orchestrate/") == ""


def _ask_all(repository: Repository, base: str, head: str, *, run: str) -> None:
    """Ask all that a run asks, but for the checkout and what checks a pack."""
    branch = repository.free_branch(f"feature/{run}", base)
    repository.is_dirty()
    repository.set_ref(f"refs/orchestrate/{run}/base", base)
    repository.set_ref(f"refs/orchestrate/{run}/head", head)
    assert repository.is_ancestor(base, head)
    assert repository.line(head, base) == [head]
    assert repository.patch(base, head)
    assert repository.diff_stat(base, head).files == 1
    for commit in (base, head):
        repository.entries(commit, "pyproject.toml", "src/part1/f1.py")
        repository.names(commit)
    assert not repository.is_checked_out(branch)
    repository.set_ref(f"refs/heads/{branch}", head, expected="")
    repository.delete_refs(f"refs/orchestrate/{run}/")
