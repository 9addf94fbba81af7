"""Which calls an agent's file allows: rules like ``Read``, ``Bash(git *)``, ``Edit(docs/**)``."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

from orchestrator.values import frozen

if TYPE_CHECKING:
    from orchestrator.shell import Command

NAME = re.compile(r"\*|[A-Za-z_][\w.*/ -]*")
SHELL = "Bash"
PATHS = {
    "Read": "file_path",
    "Write": "file_path",
    "Edit": "file_path",
    "Grep": "path",
    "Glob": "path",
}
ALIKE = {"Edit": ("Edit", "Write"), "Read": ("Read", "Grep", "Glob")}
"""What a denied path of one tool denies to others."""

WRAPPERS = frozenset(
    {"env", "command", "builtin", "exec", "nohup", "nice", "ionice", "timeout", "time", "stdbuf"}
    | {"xargs", "sudo", "doas", "setsid", "coproc", "chroot", "unshare", "parallel", "watch"}
    | {"find", "busybox", "script", "flock", "taskset", "chrt", "strace"}
)
"""Programs that start what their arguments name."""

SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh", "ash", "eval"})
NESTED = 5


@frozen
class Rule:
    """One rule: a tool, and which of its calls; ``only`` is None for all of them."""

    tool: str
    only: str | None = None

    def __str__(self) -> str:
        """Return it as it is written."""
        return self.tool if self.only is None else f"{self.tool}({self.only})"


def parse_rule(text: str) -> Rule:
    """Read one rule; ``Bash(*)`` and ``Bash()`` mean the whole tool."""
    text = text.strip()
    name, bracket, only = text.partition("(")
    name, only = name.strip(), only.removesuffix(")").strip()
    if not NAME.fullmatch(name) or (bracket and not text.endswith(")")):
        return Rule(text)
    return Rule(name, None if only in {"", "*", ":*"} else only)


class Permissions:
    """The calls that an agent may make.

    Args:
        allowed: rules; None allows everything that is not denied.
        denied: rules that win over the allowed ones.
        every: the names of all tools that there are.
        workspace: the work tree, as calls name it.
        home: the home folder, as calls name it.
    """

    def __init__(
        self,
        allowed: Sequence[str] | None,
        denied: Sequence[str] = (),
        *,
        every: Sequence[str],
        workspace: str = "/workspace",
        home: str = "/home/agent",
    ) -> None:
        self._allowed = None if allowed is None else tuple(parse_rule(one) for one in allowed)
        self._denied = tuple(parse_rule(one) for one in denied)
        self._every = tuple(every)
        self._workspace = workspace
        self._home = home

    @property
    def names(self) -> tuple[str, ...]:
        """Return the tools of which some call is allowed, in the order of all tools."""
        whole = {rule.tool for rule in self._denied if rule.only is None}
        if "*" in whole:
            return ()
        named = None if self._allowed is None else {rule.tool for rule in self._allowed}
        return tuple(
            name for name in self._every if name not in whole and (named is None or name in named)
        )

    def rules(self, tool: str) -> tuple[str, ...]:
        """Return what narrows a tool, for people; nothing for a tool that is whole."""
        allowed = [one for one in self._allowed or () if one.tool == tool]
        narrow = [] if any(one.only is None for one in allowed) else allowed
        told = [str(one.only) for one in narrow]
        told += [f"not {one}" for one in self._not(tool)]
        return tuple(told)

    def asks_for_path(self, tool: str) -> bool:
        """Tell whether it depends on a call's path, links followed, whether it is allowed."""
        return tool in PATHS and bool(self._only(tool) or self._not(tool))

    def refusal(self, tool: str, arguments: Mapping[str, object], path: str = "") -> str:
        """Return why a call is not allowed; empty if it is.

        Args:
            tool: one of ``names``.
            arguments: of the call.
            path: where the call's path leads, links followed; for tools that have one.
        """
        if tool == SHELL:
            return self._shell_refusal(str(arguments.get("command", "")))
        denied = next((one for one in self._not(tool) if self._covers(one, path)), None)
        if denied is not None:
            return f"{path} is not for you: this agent is denied {tool}({denied})"
        only = self._only(tool)
        if only and not any(self._covers(one, path) for one in only):
            return f"{path} is not for you: this agent may use {tool} only on {', '.join(only)}"
        return ""

    def _only(self, tool: str) -> list[str]:
        """Return to what a tool is narrowed; empty if it is not."""
        rules = [one for one in self._allowed or () if one.tool == tool]
        if any(one.only is None for one in rules):
            return []
        return [str(one.only) for one in rules]

    def _not(self, tool: str) -> list[str]:
        return [
            rule.only
            for rule in self._denied
            if rule.only and tool in ALIKE.get(rule.tool, (rule.tool,))
        ]

    def _covers(self, pattern: str, path: str) -> bool:
        return bool(_path_pattern(self._absolute(pattern)).fullmatch(path))

    def _absolute(self, pattern: str) -> str:
        """Return a pattern from the root on: ``//x`` is absolute, ``~/x`` is in the home."""
        if pattern.startswith("//"):
            return pattern[1:]
        if pattern.startswith("~/"):
            return f"{self._home}{pattern[1:]}"
        pattern = pattern.removeprefix("./")
        anywhere = "/" not in pattern.rstrip("/")
        return f"{self._workspace}/{'**/' if anywhere else ''}{pattern.lstrip('/')}"

    # -- the shell -------------------------------------------------------------------------

    def _shell_refusal(self, script: str) -> str:
        only, denied = self._only(SHELL), self._not(SHELL)
        if not only and not denied:
            return ""
        from orchestrator.shell import NotTold, parsed

        try:
            line = parsed(script)
            for command in line.commands:
                why = _denied(command, denied, 0) if denied else ""
                why = why or (_not_covered(command, only) if only else "")
                if why:
                    return why
        except NotTold as error:
            return f"it cannot be told what this command does ({error}); write it plainly"
        if only and line.writes:
            return f"writing to {line.writes[0]} is not for you: {_told(only)}"
        return ""


def _told(only: Sequence[str]) -> str:
    return f"this agent may run only: {', '.join(only)}"


def _not_covered(command: Command, only: Sequence[str]) -> str:
    if not command.words:
        return ""
    if command.named and any(_command_pattern(one).fullmatch(command.text) for one in only):
        return ""
    return f"`{command.text[:200]}` is not for you: {_told(only)}"


def _denied(command: Command, denied: Sequence[str], depth: int) -> str:
    """Look for a denied command, behind the programs that would start it too."""
    from orchestrator.shell import NotTold

    if not command.words:
        return ""
    if not command.named or depth > NESTED:
        raise NotTold("what it starts is not written out")
    words = list(command.words)
    name = posixpath.basename(words[0])
    if name in SHELLS:
        return _denied_in_shell(words[1:], denied, depth)
    starts = range(len(words)) if name in WRAPPERS else range(1)
    for start in starts:
        text = " ".join([posixpath.basename(words[start]), *words[start + 1 :]])
        rule = next((one for one in denied if _command_pattern(one).fullmatch(text)), None)
        if rule is not None:
            return f"`{text[:200]}` is not for you: this agent is denied {SHELL}({rule})"
        if start and posixpath.basename(words[start]) in SHELLS:
            return _denied_in_shell(words[start + 1 :], denied, depth)
    return ""


def _denied_in_shell(words: Sequence[str], denied: Sequence[str], depth: int) -> str:
    """Look into the script that a shell is given; one that comes from elsewhere cannot be seen."""
    from orchestrator.shell import NotTold, parsed

    scripts = [word for word in words if not word.startswith(("-", "+"))]
    if not scripts or depth >= NESTED:
        raise NotTold("a shell whose script is not written out")
    for inner in parsed(scripts[0]).commands:
        why = _denied(inner, denied, depth + 1)
        if why:
            return why
    return ""


@cache
def _command_pattern(pattern: str) -> re.Pattern[str]:
    """Compile a rule for commands: ``git *``, ``npm run test:*``, or a command as it is."""
    if pattern.endswith(":*"):
        return re.compile(re.escape(pattern[:-2]) + r"(?![\w-]).*", re.DOTALL)
    tail = ""
    if pattern.endswith(" *"):
        pattern, tail = pattern[:-2], r"(?: .*)?"
    return re.compile(".*".join(map(re.escape, pattern.split("*"))) + tail, re.DOTALL)


@cache
def _path_pattern(pattern: str) -> re.Pattern[str]:
    """Compile a rule for paths: ``**`` any folders, ``*`` within one; a folder means all in it."""
    pieces = re.split(r"(\*\*/|\*\*|\*|\?)", pattern.rstrip("/"))
    meaning = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile(
        "".join(meaning.get(one, re.escape(one)) for one in pieces) + "(?:/.*)?", re.DOTALL
    )
