"""A remote of the user's repository: what it holds, and one push of one commit to it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path

import anyio.to_thread

from orchestrator.errors import ConfigError, DeliveryRefused, RemoteUnavailable
from orchestrator.objects import FULL_ID
from orchestrator.remotegit import TIMEOUT_S, RemoteGit, Said
from orchestrator.remoteurls import Login, RemoteUrl, remote_url
from orchestrator.repository import Repository
from orchestrator.values import frozen

DENIED = re.compile(
    r"Authentication failed|could not read (?:Username|Password)|returned error: (?:401|403)"
    r"|Permission denied|Access denied|not authorized",
    re.IGNORECASE,
)
MISSING = re.compile(
    r"returned error: 404|repository .*not found|does not appear to be a git repository",
    re.IGNORECASE,
)
DUBIOUS = "dubious ownership"
AGAIN = "nothing is lost: try again later"
UNTOLD = re.compile(r"Please make sure you have|and the repository exists|hint:|To \S+$|Warning:")
"""Lines of git and ssh that tell nothing of what is wrong."""
HINTS = (
    (re.compile(DUBIOUS), "it is somebody else's: git config --global --add safe.directory {path}"),
    (re.compile("Host key verification failed"), "connect once by hand: ssh {host}"),
    (re.compile("cannot run ssh"), "install ssh, or use its https address"),
    (re.compile("unpack"), "it cannot keep what is pushed: is it writable, and has it room?"),
    (DENIED, "its credentials are missing, wrong or too weak: mend them, and go on"),
    (MISSING, "there is no such repository, or these credentials do not show it"),
)
"""What to do, by what git or ssh said; the first that fits."""
RACED = re.compile(
    r"stale info|non-fast-forward|fetch first|cannot lock ref|failed to update ref"
    r"|remote ref updated since checkout|incorrect old value|reference already exists",
    re.IGNORECASE,
)


@frozen
class Pushed:
    """What a push has come to.

    Attributes:
        moved: whether this push moved the branch; False where it was there already.
    """

    branch: str
    commit: str
    moved: bool


class Remote:
    """One remote of a repository.

    Args:
        repository: whose commits are pushed.
        name: the remote's name in git's settings, or an address.
        login: gives name and secret for scheme, host and port of its address; None leaves it to
            the user's own git.
        scratch: a folder for private directories.
        variables: the environment that proxies and certificates are taken from.
        timeout_s: how long one command may take.
    """

    def __init__(
        self,
        repository: Repository,
        name: str,
        *,
        scratch: Path,
        login: Callable[[str], Awaitable[Login | None]] | None = None,
        variables: Mapping[str, str] | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._repository = repository
        self.name = name
        self.url = self._located()
        self._git = RemoteGit(
            repository,
            self.url,
            shown=self.shown(),
            scratch=scratch,
            login=login,
            variables=variables,
            timeout_s=timeout_s,
        )

    def _located(self) -> RemoteUrl:
        text = self._repository.remote_address(self.name)
        if not text and ("/" in self.name or ":" in self.name):
            text = self.name
        if not text:
            raise ConfigError(
                f"delivery.remote: there is no remote {self.name!r}",
                hint=f"run: git remote add {self.name} ADDRESS",
            )
        top = self._repository.top
        url = remote_url(text, folder=top or self._repository.common)
        if url.kind == "file" and top and Path(url.path).is_relative_to(top.resolve()):
            # Whoever wrote the files of the checkout could have written its hooks too.
            raise ConfigError(
                f"the remote {self.shown(url)} lies inside the repository itself",
                hint="name another one in delivery.remote",
            )
        return url

    def shown(self, url: RemoteUrl | None = None) -> str:
        """Return the remote as it may be told: its name, or its address without secrets."""
        at = (url or self.url).address if "://" in self.name or "@" in self.name else self.name
        return at.rpartition("@")[2] if "://" not in at else at

    # -- what is done with it --------------------------------------------------------------

    async def heads(self, *branches: str) -> dict[str, str]:
        """Return branches of the remote and their commits; all, where none is named.

        Raises:
            RemoteUnavailable: it could not be asked.
        """
        refs = [f"refs/heads/{one}" for one in branches]
        said = await self._git.run("ls-remote", "--heads", "--", self.url.address, *refs)
        if said.status:
            raise self._unavailable("could not be asked for its branches", said)
        found: dict[str, str] = {}
        for row in said.output.splitlines():
            sha, _, ref = row.partition("\t")
            name = ref.removeprefix("refs/heads/")
            # A pattern matches the ends of names too.
            if FULL_ID.fullmatch(sha) and ref.startswith("refs/heads/"):
                found[name] = sha
        return {k: v for k, v in found.items() if not branches or k in branches}

    async def push(self, branch: str, commit: str, *, expected: str | None = None) -> Pushed:
        """Set a branch of the remote to a commit that continues it; never anything else.

        Args:
            branch: its short name.
            commit: what it becomes.
            expected: what it has to be at before; None takes whatever the commit continues.

        Raises:
            DeliveryRefused: the branch holds what the commit does not continue, or the remote's
                own rules refuse it.
            RemoteUnavailable: it could not be reached, or does not take the credentials.
        """
        current = (await self.heads(branch)).get(branch, "")
        if current == commit:
            return Pushed(branch, commit, moved=False)
        await self._require_forward(branch, commit, current, expected)
        ref = f"refs/heads/{branch}"
        said = await self._git.run(
            "push",
            "--porcelain",
            "--no-verify",
            "--no-follow-tags",
            "--no-signed",
            "--recurse-submodules=no",
            f"--force-with-lease={ref}:{current}",
            "--",
            self.url.address,
            f"{commit}:{ref}",
        )
        if not said.status:
            return Pushed(branch, commit, moved=True)
        # The answer may have been lost, or another process of ours was faster: what counts is
        # where the branch is now.
        with suppress(RemoteUnavailable):
            if (await self.heads(branch)).get(branch) == commit:
                return Pushed(branch, commit, moved=True)
        raise self._refused(branch, commit, said)

    async def fetch(self, branch: str) -> str:
        """Bring a branch's commits into the repository's objects; no ref is set.

        Returns:
            Its commit; empty where the remote has no such branch.

        Raises:
            RemoteUnavailable: it could not be reached.
        """
        current = (await self.heads(branch)).get(branch, "")
        if not current or self._repository.has(current):
            return current
        said = await self._git.run(
            "fetch",
            "--quiet",
            "--no-tags",
            "--no-auto-gc",
            "--no-write-fetch-head",
            "--recurse-submodules=no",
            "--",
            self.url.address,
            f"refs/heads/{branch}:refs/fetched/{branch}",
            checked=True,
        )
        if said.status or not self._repository.has(current):
            raise self._unavailable(f"did not give branch {branch}", said)
        return current

    async def _require_forward(
        self, branch: str, commit: str, current: str, expected: str | None
    ) -> None:
        hint = f"the work is commit {commit}: look at both, and push what you want to keep"
        if expected and not current:
            raise DeliveryRefused(
                f"branch {branch} was deleted on {self.shown()} meanwhile", hint=hint
            )
        if expected and current != expected:
            raise DeliveryRefused(
                f"branch {branch} on {self.shown()} was moved from {expected[:12]} to "
                f"{current[:12]} meanwhile",
                hint=hint,
            )
        if not current:
            return
        known = await anyio.to_thread.run_sync(self._repository.has, current)
        if known and await anyio.to_thread.run_sync(self._repository.is_ancestor, current, commit):
            return
        raise DeliveryRefused(
            f"branch {branch} on {self.shown()} is at {current[:12]}, which this work does not "
            "continue: somebody else has pushed there",
            hint=hint,
        )

    # -- what went wrong -------------------------------------------------------------------

    def _refused(self, branch: str, commit: str, said: Said) -> DeliveryRefused | RemoteUnavailable:
        flags = [line for line in said.output.splitlines() if line.startswith("!")]
        why = flags[0].rpartition("\t")[2] if flags else ""
        remote = " ".join(
            line.removeprefix("remote:").strip()
            for line in said.errors.splitlines()
            if line.startswith("remote:")
        )
        told = " ".join(part for part in (why, remote[:300]) if part)
        if RACED.search(why):
            return DeliveryRefused(
                f"branch {branch} on {self.shown()} moved while it was pushed to {told}",
                hint=f"the work is commit {commit}: look at both, and push what you want to keep",
            )
        if flags and "unpacker error" not in why:
            return DeliveryRefused(
                f"{self.shown()} refuses the push of {branch}: {told}",
                hint="its rules or hooks say no: change them, or push it yourself: "
                f"git push {self.shown()} {commit}:refs/heads/{branch}",
            )
        return self._unavailable(f"did not take branch {branch}", said)

    def _unavailable(self, what: str, said: Said) -> RemoteUnavailable:
        lines = [one.strip() for one in said.errors.splitlines() if one.strip()]
        telling = [one for one in lines if UNTOLD.match(one) is None]
        short = " ".join((telling or lines)[:3])[:300] or f"git ended with {said.status}"
        hint = next((words for sign, words in HINTS if sign.search(said.errors)), AGAIN)
        hint = hint.format(path=self.url.path, host=self.url.host)
        return RemoteUnavailable(f"{self.shown()} {what}: {short}", hint=hint)
