"""Snapshots: the files and all that git knows, recorded after a turn and put back."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from orchestrator_tools import snapshot
from orchestrator_tools.errors import ToolError
from tests.tools.repos import DIVERGE, Repo

SCENES = {
    "files": "echo more >>kept; rm gone; chmod +x folder/deep; chmod -x run; ln -sf gone link",
    "odd names": "mkdir -p 'grüße 日本'; echo x >'grüße 日本'/$'two\\nlines'; echo x >-n; echo >'*'",
    "kinds": "rm -r folder kept link; echo >folder; mkdir kept; echo >kept/in; ln -s nowhere link",
    "bytes": "printf 'a\\r\\nb\\0\\377' >kept; : >gone; printf 'no end' >folder/deep",
    "staged": "echo 2 >kept; git add kept; echo 3 >kept; git rm -q --cached gone; git add -N . ",
    "commits": "echo 2 >kept; git commit -qam second; git rm -q gone; git commit -qm third",
    "branch": "git switch -qc feature/new; echo 2 >kept; git commit -qam second",
    "detached": "git checkout -q --detach; echo 2 >kept; git commit -qam second",
    "tags": "git tag light; git tag -am heavy heavy; echo 2 >kept; git commit -qam second",
    "stash": "echo 2 >kept; git stash -q; echo 3 >kept; echo 4 >new; git stash -qu; echo 5 >gone",
    "packed": "git tag a; git branch b; git pack-refs --all; git tag c",
    "collected": "echo 2 >kept; git commit -qam second; git reset -q --hard HEAD~; git gc -q",
    "merge": DIVERGE + "git merge -q theirs || echo resolved >kept",
    "merge, staged": DIVERGE + "git merge -q theirs || { echo resolved >kept; git add kept; }",
    "rebase": DIVERGE + "git rebase -q theirs || true",
    "cherry-pick": DIVERGE + "git cherry-pick theirs || true",
    "bisect": DIVERGE + "git bisect start -q; git bisect bad; git bisect good HEAD~",
}

MESS = """
for what in rebase merge cherry-pick; do git $what --abort; done; git bisect reset
git stash clear; git switch -qfC other; git branch -D issue-1 theirs feature/new; git tag new
git tag -d light heavy a
find . -mindepth 1 -maxdepth 1 ! -name .git ! -name ignored ! -name '*.log' -exec rm -r {} +
mkdir -p kept/in/deep gone; echo junk | tee kept/in/deep/f gone/f folder junk ./-x
ln -s /etc link; git add -A; git commit -qm mess; git gc -q
echo '*' >.gitignore; echo hidden >hidden; git init -q sub; echo x >sub/f
git -C sub add .; git -C sub commit -qm sub
touch ../git/index.lock ../git/HEAD.lock ../git/refs/heads/issue-1.lock ../git/MERGE_HEAD
true
"""


def take(repo: Repo, turn: int) -> str:
    return str(snapshot.take(str(repo.git), str(repo.work), turn)["snapshot"])


def restore(repo: Repo, name: str) -> None:
    snapshot.restore(str(repo.git), str(repo.work), name)


@pytest.mark.parametrize("scene", SCENES.values(), ids=SCENES)
def test_puts_back_what_was_there(repo: Repo, scene: str) -> None:
    """Whatever came after a snapshot, files, index, HEAD, refs and works under way come back."""
    take(repo, 0)
    repo.sh(scene)
    before = repo.state()
    name = take(repo, 1)
    assert repo.state() == before
    repo.sh(MESS)
    restore(repo, name)
    assert repo.state() == before
    restore(repo, name)
    assert repo.state() == before


def test_works_with_sha256(new_repo: Callable[..., Repo]) -> None:
    """A repository with longer names is recorded and put back all the same."""
    repo = new_repo("sha256")
    repo.sh("echo 2 >kept; git commit -qam second; echo 3 >new")
    before = repo.state()
    name = take(repo, 1)
    repo.sh(MESS)
    restore(repo, name)
    assert repo.state() == before


def test_an_unchanged_state_keeps_its_name(repo: Repo) -> None:
    """A turn that changes nothing is the same snapshot; any change makes a new one."""
    name = take(repo, 1)
    assert name.startswith("1:")
    assert take(repo, 2) == name
    repo.sh("cat kept; git log; echo more >>ignored/cache")
    assert take(repo, 3) == name
    repo.sh("echo 2 >kept")
    second = take(repo, 4)
    assert second.startswith("4:")
    repo.sh("git tag new")
    third = take(repo, 5)
    assert third.startswith("5:")
    assert take(repo, 6) == third


def test_goes_back_to_any_turn(repo: Repo) -> None:
    """The states of all turns can be put back, in any order."""
    states = {}
    for turn in (1, 2, 3):
        repo.sh(f"echo {turn} >kept; git tag turn-{turn}; echo {turn} >new-{turn}")
        states[take(repo, turn)] = repo.state()
    first, second, third = states
    for name in (second, third, first, second):
        restore(repo, name)
        assert repo.state() == states[name]


def test_what_was_changed_last_is_known_again(repo: Repo) -> None:
    """Files get back the times that they had, so that searches list them in the same order."""
    repo.sh("echo 1 >'a b'; touch -d 2001-02-03T04:05:06.789 kept; ln -s nowhere ./-link")
    name = take(repo, 1)
    names = ("a b", "kept", "-link", "folder/deep")
    before = [(repo.work / one).lstat().st_mtime_ns for one in names]
    repo.sh("rm 'a b'; echo 2 >kept; rm ./-link; touch folder/deep")
    restore(repo, name)
    assert [(repo.work / one).lstat().st_mtime_ns for one in names] == before


def test_what_takes_too_much_room_is_forgotten(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last two states are kept however large they are; older ones go first."""
    monkeypatch.setattr("orchestrator_tools.snapshot.KEPT_BYTES", 1)
    names = []
    for turn in (1, 2, 3):
        repo.sh(f"echo {turn} >kept")
        names.append(take(repo, turn))
    with pytest.raises(ToolError, match="there is no snapshot"):
        restore(repo, names[0])
    restore(repo, names[1])
    restore(repo, names[2])


def test_goes_on_after_going_back(repo: Repo) -> None:
    """A turn that is repeated after an interruption replaces its snapshot."""
    first = take(repo, 1)
    repo.sh("echo lost >kept")
    lost = take(repo, 2)
    restore(repo, first)
    repo.sh("echo kept >kept")
    before = repo.state()
    again = take(repo, 2)
    assert again != lost
    repo.sh(MESS)
    restore(repo, again)
    assert repo.state() == before
    with pytest.raises(ToolError, match="there is no snapshot"):
        restore(repo, lost)


@pytest.mark.parametrize(
    "name", ["", "1", "1:", "1:" + "0" * 40, "2:" + "0" * 40, "../../1:" + "0" * 40, "x" * 99]
)
def test_refuses_what_is_no_snapshot(repo: Repo, name: str) -> None:
    """A name that was never given is refused, and nothing is touched."""
    take(repo, 1)
    repo.sh("echo 2 >kept; echo new >new; git tag new")
    before = repo.state()
    with pytest.raises(ToolError, match="there is no snapshot"):
        restore(repo, name)
    assert repo.state() == before


def test_leaves_ignored_files_alone(repo: Repo) -> None:
    """Ignored files are neither recorded nor put back nor removed."""
    name = take(repo, 1)
    repo.sh("echo new >ignored/cache; echo more >ignored/more; echo b >b.log; rm a.log")
    restore(repo, name)
    shown = repo.files()
    assert (shown["ignored/cache"][1], shown["ignored/more"][1]) == (b"new\n", b"more\n")
    assert "b.log" in shown
    assert "a.log" not in shown


@pytest.mark.parametrize("change", ["rm .gitignore", "echo >.gitignore", "git rm -qf .gitignore"])
def test_lost_ignore_rules_cost_no_files(repo: Repo, change: str) -> None:
    """Files that a snapshot ignores stay, though a later turn dropped the rule for them."""
    name = take(repo, 1)
    before = repo.state()
    repo.sh(f"{change}; echo junk >junk")
    restore(repo, name)
    assert repo.state() == before


@pytest.mark.parametrize(
    "damage",
    ["rm HEAD", "rm -r refs index logs", "echo junk >index", "echo junk >HEAD; rm -r refs"],
)
def test_mends_a_broken_git_directory(repo: Repo, damage: str) -> None:
    """What was destroyed in the git directory is put back as well."""
    name = take(repo, 1)
    before = repo.state()
    repo.sh(f"echo 2 >kept; cd ../git; {damage}")
    restore(repo, name)
    assert repo.state() == before


@pytest.mark.parametrize("lock", ["index.lock", "HEAD.lock", "orchestrate/index.lock"])
def test_a_lock_left_behind_is_no_obstacle(repo: Repo, lock: str) -> None:
    """A killed git leaves its lock; snapshots are taken all the same, without it."""
    (repo.git / lock).touch()
    repo.sh("echo 2 >kept")
    name = take(repo, 1)
    repo.sh("echo 3 >kept")
    restore(repo, name)
    assert repo.files()["kept"][1] == b"2\n"
    assert not (repo.git / lock).exists()


@pytest.mark.parametrize(
    "last", ["", "{", "[]", "{}", '{"name": "x"}', '{"name": "7:' + "0" * 40 + '"}']
)
def test_a_damaged_record_costs_only_the_name(repo: Repo, last: str) -> None:
    """Where the record of the last snapshot is unreadable, a new one is made."""
    take(repo, 1)
    (repo.git / "orchestrate/last").write_text(last)
    before = repo.state()
    name = take(repo, 2)
    assert name.startswith("2:")
    repo.sh(MESS)
    restore(repo, name)
    assert repo.state() == before


def test_passes_over_special_files(repo: Repo) -> None:
    """Pipes and dangling links in the work tree do not stop a snapshot."""
    os.mkfifo(repo.work / "fifo")
    (repo.work / "dangling").symlink_to("nowhere")
    (repo.work / "loop").symlink_to("loop")
    name = take(repo, 1)
    before = repo.state()
    repo.sh("rm loop; echo 2 >kept")
    restore(repo, name)
    assert repo.state() == before


def test_says_what_git_says(repo: Repo) -> None:
    """A git that fails is an error with git's own words."""
    (repo.git / "HEAD").unlink()
    with pytest.raises(ToolError, match=r"git add failed: .*not a git repository"):
        take(repo, 1)


def test_a_change_of_the_same_second_and_size_is_put_back(repo: Repo) -> None:
    """Files are compared by what is in them: times and sizes may say nothing."""
    file = repo.work / "kept"
    for turn in range(20):
        file.write_text(f"{turn:03}\n", encoding="utf-8")
        name = take(repo, turn)
        noted = file.stat()
        file.write_text("xyz\n", encoding="utf-8")
        os.utime(file, ns=(noted.st_atime_ns, noted.st_mtime_ns))
        restore(repo, name)
        assert file.read_text(encoding="utf-8") == f"{turn:03}\n"
