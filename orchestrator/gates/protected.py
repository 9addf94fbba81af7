"""The gate on protected paths: what decides over others is changed by a person only."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence

from orchestrator.gates.aside import aside
from orchestrator.gates.findings import Finding, Reading, verdict_of_reading
from orchestrator.gates.paths import matches
from orchestrator.judgesettings import GateWaiver
from orchestrator.ports import Change
from orchestrator.records import FileChange, Verdict

PROTECTED = (
    # continuous integration
    "/.github/workflows/**",
    "/.github/actions/**",
    ".gitlab-ci.yml",
    "/.gitlab/ci/**",
    "Jenkinsfile*",
    "/.circleci/**",
    "/.buildkite/**",
    "azure-pipelines*.yml",
    "/.azure-pipelines/**",
    "bitbucket-pipelines.yml",
    ".travis.yml",
    "appveyor.yml",
    ".drone.yml",
    ".woodpecker.yml",
    "/.woodpecker/**",
    "/.ci/**",
    "/.github/dependabot.yml",
    # who owns and reviews what
    "CODEOWNERS",
    # what agents are told and allowed
    "/agents/**/*.md",
    "/.claude/**",
    "/.orchestrate/**",
    "/AGENTS.md",
    "/CLAUDE.md",
    ".mcp.json",
    "/.cursor/**",
    # git, its hooks, and what editors run by themselves
    ".gitattributes",
    ".gitmodules",
    "/.githooks/**",
    "/.husky/**",
    ".pre-commit-config.yaml",
    "lefthook.yml",
    ".lefthook.yml",
    "/.vscode/**",
    "/.devcontainer/**",
    ".envrc",
)
OWN_SETTINGS = "config.yaml"
LINK, SUBMODULE = "120000", "160000"


class ProtectedPathsGate:
    """Asks for a person where a change touches what decides over others.

    Args:
        paths: further protected files.
        waivers: what a person lets pass.
    """

    name = "protected-paths"

    def __init__(self, *, paths: Sequence[str] = (), waivers: Sequence[GateWaiver] = ()) -> None:
        self._paths = (*PROTECTED, *paths)
        self._waivers = waivers

    async def judge(self, change: Change) -> Verdict:
        """Look at the path and the kind of every changed file."""
        changes = await change.changes()
        before, now = await change.read_base(OWN_SETTINGS), await change.read(OWN_SETTINGS)
        own = any(_says_so(files) for files in (before, now))
        paths = (*self._paths, *([f"/{OWN_SETTINGS}"] if own else []))
        reading = await aside(lambda: _read(changes, paths), changes)
        return verdict_of_reading(self.name, change, reading, self._waivers)


def _says_so(files: Mapping[str, bytes]) -> bool:
    """Tell whether the file at the top is read as settings of this program."""
    text = files.get(OWN_SETTINGS, b"").decode("utf-8", "replace")
    return any(
        line.partition(":")[0].strip("\"' \t") == "orchestrate" for line in text.splitlines()
    )


def _read(changes: Sequence[FileChange], protected: Sequence[str]) -> Reading:
    findings = [found for one in changes for found in _of_file(one, protected)]
    return Reading(f"{len(changes)} changed files, none protected", findings)


def _of_file(change: FileChange, protected: Sequence[str]) -> Iterator[Finding]:
    path = change.path
    if matches(path, protected):
        yield Finding(path, 0, f"protected, and {change.state}: a person must agree", person=True)
    if change.mode == SUBMODULE:
        yield Finding(path, 0, "a submodule: what it brings in is not looked at", person=True)
    if change.mode == LINK:
        target = "\n".join(text for _, text in change.added)
        why = "its target cannot be told" if change.cut else leads_out(path, target)
        if why:
            yield Finding(path, 0, f"a symbolic link: {why}")


def leads_out(path: str, target: str) -> str:
    """Return why a link must not be followed, or nothing where it stays in the repository.

    Args:
        path: the link's own.
        target: what it says.
    """
    if target.startswith("/"):
        return "it leads to an absolute path"
    parts = [part for part in target.split("/") if part not in {"", "."}]
    ups = next((at for at, part in enumerate(parts) if part != ".."), len(parts))
    if ups > path.count("/"):
        return "it leads out of the repository"
    if ".." in parts[ups:]:
        # What comes before may be a link itself, so where this leads cannot be told from the text.
        return "it goes down and up again, which may lead out of the repository"
    where = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    if any(part.lower() == ".git" for part in where.split("/")):
        return "it leads into git's own files"
    return ""
