"""Pushing one commit to a real remote: forward only, with secrets that nobody else sees."""

from __future__ import annotations

import base64
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from orchestrator.errors import ConfigError, DeliveryRefused, RemoteUnavailable
from orchestrator.remotes import Remote
from orchestrator.remoteurls import Login, remote_url
from orchestrator.repository import Repository, locate
from tests.builders import a_clone, a_commit, a_repository, git
from tests.git_server import TOKEN, GitServer, git_server, make_repository

pytestmark = pytest.mark.asyncio

BRANCH = "feature/7-totals"


class Given:
    """A user's repository with work in it, and the server that it was cloned from."""

    def __init__(self, folder: Path, server: GitServer) -> None:
        self.folder = folder
        self.server = server
        self.path = a_repository(folder / "repo")
        make_repository(server, self.path)
        git(self.path, "remote", "add", "origin", server.address())
        self.start = git(self.path, "rev-parse", "HEAD")
        git(self.path, "switch", "--quiet", "--detach")
        self.work = a_commit(self.path, {"a.py": "1\n"}, "Work")
        self.more = a_commit(self.path, {"a.py": "2\n"}, "More")
        git(self.path, "switch", "--quiet", "main")
        self.repository: Repository = locate(self.path)

    def remote(self, token: str = TOKEN, name: str = "origin", timeout_s: float = 60.0) -> Remote:
        """Return the remote, with a token."""

        async def login(_: str) -> Login | None:
            return Login("x-access-token", token) if token else None

        return Remote(
            self.repository,
            name,
            scratch=self.folder / "scratch",
            login=login,
            variables=os.environ,
            timeout_s=timeout_s,
        )

    def someone_pushes(self, branch: str = BRANCH) -> str:
        """Have somebody else push a commit that this repository does not know."""
        other = a_clone(self.server.repository(), self.folder / "other")
        commit = a_commit(other, {"theirs.py": "1\n"}, "Theirs")
        git(other, "push", "--quiet", "--force", "origin", f"{commit}:refs/heads/{branch}")
        return commit


@pytest.fixture
def given(tmp_path: Path) -> Iterator[Given]:
    """A repository, and a server that wants a token."""
    with git_server(tmp_path / "served") as server:
        yield Given(tmp_path, server)


async def test_a_secret_goes_nowhere_else(given: Given, tmp_path: Path) -> None:
    """A server that sends us on to another one is told as that; the other one hears nothing."""
    with git_server(tmp_path / "another") as another:
        make_repository(another, given.path)
        given.server.sends_on = another.url
        with pytest.raises(RemoteUnavailable):
            await given.remote().push(BRANCH, given.work)
        assert another.logins == [] and another.head(BRANCH) == ""


async def test_the_very_commit_is_pushed_once(given: Given) -> None:
    """The branch is that commit; a second push sends nothing, and nothing else is changed here."""
    before = git(given.path, "for-each-ref"), (given.path / ".git/config").read_bytes()
    first = await given.remote().push(BRANCH, given.work)
    second = await given.remote().push(BRANCH, given.work)
    assert (first.moved, second.moved) == (True, False)
    assert given.server.head(BRANCH) == given.work
    assert len(given.server.log()) == len(given.server.pushes) == 1
    assert (git(given.path, "for-each-ref"), (given.path / ".git/config").read_bytes()) == before
    assert list((given.folder / "scratch").iterdir()) == []


async def test_a_branch_moves_forward(given: Given) -> None:
    """What continues the remote's branch is pushed; the remote's other branches stay."""
    main = given.server.head("main")
    await given.remote().push(BRANCH, given.work)
    await given.remote().push(BRANCH, given.more, expected=given.work)
    assert given.server.head(BRANCH) == given.more
    assert given.server.head("main") == main
    assert await given.remote().heads() == {"main": main, BRANCH: given.more}


async def test_never_over_somebodys_commits(given: Given) -> None:
    """A branch that somebody else has moved or rewritten stays as they left it."""
    await given.remote().push(BRANCH, given.work)
    theirs = given.someone_pushes()
    with pytest.raises(DeliveryRefused, match="somebody else has pushed") as told:
        await given.remote().push(BRANCH, given.more)
    assert given.more in told.value.hint
    with pytest.raises(DeliveryRefused, match="does not continue"):
        await given.remote().push("main", git(given.path, "commit-tree", "HEAD^{tree}", "-m", "x"))
    assert given.server.head(BRANCH) == theirs


async def test_never_over_commits_that_come_in_between(given: Given) -> None:
    """What is pushed between our look and our push is not overwritten either."""
    await given.remote().push(BRANCH, given.work)
    asked: list[str] = []
    theirs: list[str] = []

    def meddle(path: str) -> None:
        if "service=git-receive-pack" in path and not theirs:
            theirs.append("")
            theirs[0] = given.someone_pushes()
        asked.append(path)

    given.server.before = meddle
    with pytest.raises(DeliveryRefused, match="moved while it was pushed"):
        await given.remote().push(BRANCH, given.more)
    assert given.server.head(BRANCH) == theirs[0]


async def test_a_branch_that_was_deleted_is_told(given: Given) -> None:
    """Where a branch has to be there and is not, it is not made again."""
    with pytest.raises(DeliveryRefused, match="was deleted"):
        await given.remote().push(BRANCH, given.more, expected=given.work)
    assert given.server.head(BRANCH) == ""


@pytest.mark.parametrize("hook", ["pre-receive", "update"])
async def test_what_the_remote_forbids_is_told(given: Given, hook: str) -> None:
    """The remote's own words and a way on are in the error; the branch is not there."""
    given.server.hook(hook, "echo 'main is protected, ask Ada' >&2; exit 1")
    with pytest.raises(DeliveryRefused, match=r"declined.*ask Ada") as told:
        await given.remote().push(BRANCH, given.work)
    assert f"git push origin {given.work}" in told.value.hint
    assert given.server.head(BRANCH) == ""


@pytest.mark.parametrize("token", ["wrong-canary-5b7e", ""])
async def test_a_wrong_token_is_refused(given: Given, token: str) -> None:
    """Without the right token nothing is pushed; the error says so, and does not quote it."""
    with pytest.raises(RemoteUnavailable) as told:
        await given.remote(token).push(BRANCH, given.work)
    assert "credentials" in told.value.hint
    assert not token or token not in f"{told.value} {told.value.hint}"
    assert given.server.pushes == []


async def test_a_remote_that_is_read_only(given: Given) -> None:
    """A server that gives and does not take: it can be asked, and the push is told, not retried."""
    git(given.server.repository(), "config", "http.receivepack", "false")
    assert await given.remote().heads()
    with pytest.raises(RemoteUnavailable, match="did not take branch") as told:
        await given.remote().push(BRANCH, given.work)
    assert "403" in str(told.value) and "too weak" in told.value.hint
    assert TOKEN not in f"{told.value}{told.value.hint}"


@pytest.mark.parametrize(
    ("said", "what", "hint"),
    [
        ("Host key verification failed.", "Host key", "ssh h.example"),
        ("git@h.example: Permission denied (publickey).", "publickey", "credentials"),
        ("ssh: connect to host h.example port 22: Connection refused", "refused", "again later"),
    ],
)
async def test_what_ssh_says_is_told(
    given: Given, monkeypatch: pytest.MonkeyPatch, said: str, what: str, hint: str
) -> None:
    """The line of ssh that tells what is wrong is in the error, and the hint fits it."""
    place = given.folder / "bin"
    place.mkdir()
    (place / "ssh").write_text(f"#!/bin/sh\necho '{said}' >&2; exit 255\n", encoding="utf-8")
    (place / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{place}:{os.environ['PATH']}")
    git(given.path, "remote", "set-url", "origin", "git@h.example:team/shop.git")
    with pytest.raises(RemoteUnavailable, match=what) as told:
        await given.remote().push(BRANCH, given.work)
    assert hint in told.value.hint


async def test_a_folder_that_cannot_keep_it(given: Given) -> None:
    """A remote without room, or that may not be written, parks the work; no rule refused it."""
    bare = given.server.repository()
    # As on a full disk, the pack is not taken; unlike rights of files that stops root, too.
    git(bare, "config", "receive.unpackLimit", "1")
    git(bare, "config", "receive.maxInputSize", "1")
    git(given.path, "remote", "set-url", "origin", str(bare))
    with pytest.raises(RemoteUnavailable, match="did not take branch") as told:
        await given.remote().push(BRANCH, given.work)
    assert "has it room" in told.value.hint
    assert given.server.head(BRANCH) == ""


async def test_silence_ends_in_time(given: Given) -> None:
    """A remote that does not answer is given up, and its git does not stay."""
    release = threading.Event()
    given.server.before = lambda _: _wait(release)
    try:
        with pytest.raises(RemoteUnavailable, match="no answer within"):
            await given.remote(timeout_s=0.3).push(BRANCH, given.work)
        gone(given.server.address())
    finally:
        release.set()


def _wait(release: threading.Event) -> None:
    release.wait(30)


async def test_nobody_there(given: Given) -> None:
    """A remote out of reach is told as one, by its name."""
    git(given.path, "remote", "set-url", "origin", "http://127.0.0.1:9/shop.git")
    with pytest.raises(RemoteUnavailable, match="origin could not be asked"):
        await given.remote().push(BRANCH, given.work)


async def test_an_answer_that_got_lost(given: Given) -> None:
    """Where the push arrived and its answer did not, where the branch is decides."""
    given.server.hook("post-receive", "cat >> received; kill -9 $PPID")
    pushed = await given.remote().push(BRANCH, given.work)
    assert pushed.commit == given.work
    assert given.server.head(BRANCH) == given.work


async def test_what_others_pushed_is_fetched(given: Given) -> None:
    """Their commits come into the objects here, and no ref is set."""
    theirs = given.someone_pushes()
    before = git(given.path, "for-each-ref")
    assert await given.remote().fetch(BRANCH) == theirs
    assert given.repository.has(theirs)
    assert git(given.path, "for-each-ref") == before
    assert not (given.path / ".git" / "FETCH_HEAD").exists()
    assert await given.remote().fetch("feature/none") == ""


# -- where secrets are -------------------------------------------------------------------------


def processes() -> list[str]:
    """Return command line and environment of every process but this one, as far as they show."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            parts = [(folder / name).read_bytes() for name in ("cmdline", "environ")]
        except OSError:
            continue
        found.append(b"\0".join(parts).decode("utf-8", "replace"))
    return found


def gone(word: str) -> None:
    """Wait until no process shows a word in its command line or environment."""
    deadline = time.monotonic() + 30
    while any(word in one for one in processes()):
        assert time.monotonic() < deadline, f"a process with {word} stays"


def forms(secret: str, user: str = "x-access-token") -> list[str]:
    """Return a secret as it is, and as HTTP carries it."""
    return [secret, base64.b64encode(f"{user}:{secret}".encode()).decode()]


async def test_no_process_shows_the_secret(given: Given) -> None:
    """While git pushes, no command line, no environment and no file of ours holds the token."""
    seen: list[str] = []
    running: list[str] = []
    files: list[bytes] = []

    def look(_: str) -> None:
        now = processes()
        running.extend(one for one in now if given.server.address() in one)
        seen.extend(one for one in now if any(form in one for form in forms(TOKEN)))
        scratch = given.folder / "scratch"
        files.extend(one.read_bytes() for one in scratch.rglob("*") if one.is_file())

    given.server.before = look
    await given.remote().push(BRANCH, given.work)
    assert running, "git was seen while it pushed"
    assert files, "the directory that git pushes from was seen"
    assert given.server.logins == [f"x-access-token:{TOKEN}"] * len(given.server.logins) != []
    assert seen == []
    assert not any(form.encode() in one for one in files for form in forms(TOKEN))


async def test_a_secret_in_the_address_is_taken_out(given: Given) -> None:
    """A token that stands in git's settings works, and is in no argument and no error."""
    address = given.server.address().replace("http://", f"http://ada:{TOKEN}@")
    git(given.path, "remote", "set-url", "origin", address)
    seen: list[str] = []
    given.server.before = lambda _: seen.extend(one for one in processes() if TOKEN in one)
    remote = given.remote("")
    await remote.push(BRANCH, given.work)
    assert given.server.logins[-1] == f"ada:{TOKEN}"
    assert seen == []
    assert TOKEN not in f"{remote.url} {remote.shown()}"
    given.server.tokens.clear()
    given.server.tokens.add("another")
    with pytest.raises(RemoteUnavailable) as told:
        await remote.push(BRANCH, given.more)
    assert TOKEN not in f"{told.value} {told.value.hint}"


async def test_a_secret_goes_to_its_own_host_only(given: Given, tmp_path: Path) -> None:
    """A server that leads elsewhere does not get the token sent there."""
    with git_server(tmp_path / "elsewhere") as other:
        make_repository(other, given.path)
        settings = tmp_path / "home" / ".gitconfig"
        settings.write_text(
            f'[url "{other.url}/"]\n\tinsteadOf = {given.server.url}/\n', encoding="utf-8"
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv("GIT_CONFIG_GLOBAL")
            with pytest.raises(RemoteUnavailable):
                await given.remote().push(BRANCH, given.work)
        assert other.logins == given.server.logins == []


async def test_what_a_server_says_back_is_without_the_secret(given: Given) -> None:
    """A server that quotes the token in its refusal does not get it into an error."""
    given.server.hook("pre-receive", f"echo 'no {TOKEN} {forms(TOKEN)[1]}' >&2; exit 1")
    with pytest.raises(DeliveryRefused) as told:
        await given.remote().push(BRANCH, given.work)
    assert "***" in str(told.value)
    assert not any(form in f"{told.value} {told.value.hint}" for form in forms(TOKEN))


async def test_no_secret_over_plain_http(given: Given) -> None:
    """To another machine a token goes over TLS or not at all; no connection is made."""
    git(given.path, "remote", "set-url", "origin", "http://git.example.org/shop.git")
    with pytest.raises(RemoteUnavailable, match="plain http"):
        await given.remote().push(BRANCH, given.work)


# -- what a repository's settings cannot do ----------------------------------------------------


async def test_hostile_settings_start_nothing(given: Given) -> None:
    """No hook, helper, transport or program that the repository's settings name is started."""
    trap = given.folder / "sprung"
    script = given.folder / "trap.sh"
    script.write_text(f"#!/bin/sh\ntouch {trap}\nexit 1\n", encoding="utf-8")
    script.chmod(0o755)
    hooks = given.folder / "hooks"
    hooks.mkdir()
    for name in ("pre-push", "reference-transaction", "post-checkout"):
        (hooks / name).symlink_to(script)
        (given.path / ".git" / "hooks").mkdir(exist_ok=True)
        (given.path / ".git" / "hooks" / name).symlink_to(script)
    for key, value in {
        "core.hooksPath": str(hooks),
        "core.sshCommand": str(script),
        "core.askPass": str(script),
        "core.fsmonitor": str(script),
        "credential.helper": f"!{script}",
        "gpg.program": str(script),
        "push.gpgSign": "true",
        "remote.origin.receivepack": str(script),
        "remote.origin.uploadpack": str(script),
        "remote.origin.vcs": "ext",
        "protocol.ext.allow": "always",
    }.items():
        git(given.path, "config", key, value)
    await given.remote().push(BRANCH, given.work)
    assert given.server.head(BRANCH) == given.work
    assert not trap.exists()


@pytest.mark.parametrize(
    "address", ["ext::sh -c evil", "foo::bar", "ftp://example.org/x", "-oProxyCommand=evil", ""]
)
async def test_addresses_that_start_programs_are_refused(tmp_path: Path, address: str) -> None:
    """Only https, http, ssh and file remotes are pushed to."""
    with pytest.raises(ConfigError):
        remote_url(address, folder=tmp_path)


@pytest.mark.parametrize(
    ("text", "kind", "host", "address"),
    [
        ("git@github.com:a/b.git", "ssh", "github.com", "git@github.com:a/b.git"),
        ("ssh://git@h:22/a/b", "ssh", "h", "ssh://git@h:22/a/b"),
        ("ssh://git:pw@h/a", "ssh", "h", "ssh://git@h/a"),
        ("https://u:p@h:8443/a/b.git", "https", "h", "https://h:8443/a/b.git"),
        ("https://tok@h/a", "https", "h", "https://h/a"),
        ("file:///srv/a%20b.git", "file", "", "/srv/a b.git"),
        ("/srv/a.git", "file", "", "/srv/a.git"),
    ],
)
async def test_addresses_are_taken_apart(
    tmp_path: Path, text: str, kind: str, host: str, address: str
) -> None:
    """What git is given holds no secret."""
    url = remote_url(text, folder=tmp_path)
    assert (url.kind, url.host, url.address) == (kind, host, address)
    assert "p" not in (url.login.secret if url.login and url.login.user == "git" else "")


async def test_a_remote_inside_the_checkout_is_refused(given: Given) -> None:
    """A bare repository among the checkout's own files could bring hooks of its own."""
    git(given.path, "remote", "set-url", "origin", "./bare")
    with pytest.raises(ConfigError, match="inside the repository"):
        given.remote()


async def test_a_folder_is_pushed_to(given: Given) -> None:
    """A remote may be a folder on this machine."""
    git(given.path, "remote", "set-url", "origin", str(given.server.repository()))
    await given.remote().push(BRANCH, given.work)
    assert given.server.head(BRANCH) == given.work


async def test_an_interrupted_push_leaves_no_process(given: Given) -> None:
    """When the task is cancelled, git and what it started end with it."""
    asked, release = threading.Event(), threading.Event()

    def hold(_: str) -> None:
        asked.set()
        release.wait(30)

    given.server.before = hold
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(given.remote().push, BRANCH, given.work)
            assert await anyio.to_thread.run_sync(asked.wait, 30)
            tasks.cancel_scope.cancel()
        gone(given.server.address())
    finally:
        release.set()
