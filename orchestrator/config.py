"""config.yaml, typed and strict: an unknown key is an error, at its line and column."""

from __future__ import annotations

import dataclasses
import os
import pwd
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml

from orchestrator.errors import At, ConfigError
from orchestrator.settings import Config, RoutingSettings

SIZE_LIMIT = 1024 * 1024
OWN = ".orchestrate/config.yaml"
SHARED = "config.yaml"
"""Where a repository keeps its settings; the second only counts with the key ``orchestrate``."""
DEPTH_LIMIT = 16
SCALARS: dict[type, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
}


USER_ONLY = ("sandbox", "models")
"""Sections that a repository may not set: walls, and what money means."""

APP = ("app_id", "app_key_file")
USER_ONLY_KEYS = {
    "model": ("client", "concurrency", "fallback"),
    "delivery": ("push", "remote", "token_env", "rescue", "claim"),
    "tracker": ("base_url", "allow_projects", "token_command", "token_file", *APP),
    "batch": ("on_end",),
    "workspace": ("pack_limit_mb", "share", "setup_allow", "setup_minutes"),
}
"""Keys that a repository may not set: what may come out and whereto, what is shown, what may be
reached, whose credentials go where."""

LIMITS = {
    "limits": ("usd", "turns", "minutes", "tokens", "tools"),
    "review": ("usd", "turns"),
    "batch": ("usd", "per_issue_usd"),
}
"""Keys that a repository may lower, and not raise."""


def load(
    *,
    user: Path | None,
    repository: Path | None,
    explicit: Path | None = None,
    committed: Mapping[str, bytes] | None = None,
) -> Config:
    """Load the configuration from all its levels; nearer ones win key by key.

    Args:
        user: the user's own file.
        repository: top folder of the repository under work, whose file may tighten, not loosen.
        explicit: a file named on the command line; it counts as the user's.
        committed: the repository's settings files as a commit has them, instead of those in
            ``repository``: what judges a branch is not the branch's to say.

    Raises:
        ConfigError: a file is broken, a key unknown, or a repository reaches too far.
    """
    config = Config()
    if user is not None and _is_file(user):
        config = _merge(config, _compose(user), user, trusted=True)
    found = repository_file(repository) if repository and committed is None else None
    if found is not None:
        config = _merge(config, _compose(found), found, trusted=False)
    own = committed_file(committed) if committed else None
    if own is not None:
        name, data = own
        path = Path(name)
        config = _merge(config, _compose_text(_decoded(data, path), path), path, trusted=False)
    if explicit is not None:
        _expect_file(explicit)
        config = _merge(config, _compose(explicit), explicit, trusted=True)
    return config


def routing_file(path: Path) -> RoutingSettings:
    """Read a file of routing rules: what ``routing:`` holds in a settings file.

    Raises:
        ConfigError: it is not there, or a key is unknown or of the wrong kind.
    """
    _expect_file(path)
    node = _compose(path)
    if node is None:
        return RoutingSettings()
    return typing.cast("RoutingSettings", _decode(RoutingSettings, node, str(path), "routing"))


def user_file(environment: Mapping[str, str]) -> Path:
    """Return where the user's own settings are."""
    given = environment.get("XDG_CONFIG_HOME")
    home = home_folder(environment) or Path("/nonexistent")
    return (Path(given) if given else home / ".config") / "orchestrate" / "config.yaml"


def state_folder(environment: Mapping[str, str]) -> Path:
    """Return where runs and the journal are kept.

    Raises:
        ConfigError: nothing tells where the user's own files are.
    """
    given = environment.get("XDG_STATE_HOME")
    home = home_folder(environment)
    if not given and home is None:
        raise ConfigError(
            "no place for the runs: HOME is not set, and this user has no home directory",
            hint="name a folder with --state, or set XDG_STATE_HOME",
        )
    top = Path(given) if given else Path(home or "/nonexistent") / ".local" / "state"
    return top / "orchestrate"


def home_folder(environment: Mapping[str, str]) -> Path | None:
    """Return the user's home directory: what HOME says, else what the system knows."""
    if environment.get("HOME"):
        return Path(environment["HOME"])
    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        return None


def repository_file(top: Path) -> Path | None:
    """Return the repository's own settings; a ``config.yaml`` counts only when it says so."""
    own = top / OWN
    if _is_file(own):
        return own
    shared = top / SHARED
    if not _is_file(shared) or shared.stat().st_size > 1024 * 1024:
        return None
    return shared if _says_so(_bytes(shared).decode("utf-8", "replace")) else None


def committed_file(files: Mapping[str, bytes]) -> tuple[str, bytes] | None:
    """Return the repository's own settings among files of a commit, by the rule for a checkout."""
    if OWN in files:
        return OWN, files[OWN]
    data = files.get(SHARED, b"")
    if len(data) > SIZE_LIMIT or not _says_so(data.decode("utf-8", "replace")):
        return None
    return SHARED, data


def _says_so(text: str) -> bool:
    return any(line.partition(":")[0] == "orchestrate" for line in text.splitlines())


def _decoded(data: bytes, path: Path) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"not valid YAML text: {error}", at=At(str(path))) from None


def _compose(path: Path) -> yaml.Node | None:
    return _compose_text(_decoded(_bytes(path), path), path)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:
        raise _unreadable(path, error) from None


def _expect_file(path: Path) -> None:
    if _is_file(path):
        return
    if not path.exists():
        raise ConfigError(f"no such file: {path}")
    what = "a folder" if path.is_dir() else "a device or a pipe"
    raise ConfigError(f"{path} is {what}, not a file", hint="name a file of settings")


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError) -> ConfigError:
    hint = "make it readable for this user, or take it away"
    return ConfigError(f"{path} cannot be read: {error.strerror}", hint=hint)


def _compose_text(text: str, path: Path) -> yaml.Node | None:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        _refuse_bombs(text, path, loader)
        return yaml.compose(text, Loader=loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        at = At(str(path), mark.line + 1, mark.column + 1) if mark else At(str(path))
        raise ConfigError(f"not valid YAML: {error.problem}", at=at) from None
    except yaml.YAMLError as error:
        raise ConfigError(f"not valid YAML text: {error}", at=At(str(path))) from None


def _refuse_bombs(text: str, path: Path, loader: Any) -> None:
    """Refuse what would break the parser: huge, deeply nested, or aliased."""
    if len(text) > SIZE_LIMIT:
        raise ConfigError(f"larger than {SIZE_LIMIT} characters", at=At(str(path)))
    depth = 0
    for event in yaml.parse(text, Loader=loader):
        mark: Any = event.start_mark
        at = At(str(path), mark.line + 1, mark.column + 1)
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.AliasEvent):
            raise ConfigError("anchors and aliases are not allowed here", at=at)
        if depth > DEPTH_LIMIT:
            raise ConfigError(f"nested deeper than {DEPTH_LIMIT} levels", at=at)


def _merge(config: Config, node: yaml.Node | None, path: Path, *, trusted: bool) -> Config:
    if node is None:
        return config
    file = str(path)
    merged = typing.cast("Config", _decode(Config, node, file, "", config))
    if merged.orchestrate != 1:
        said = next(one for key, one in _pairs(node, file, "") if key.value == "orchestrate")
        message = f"orchestrate: {merged.orchestrate} is not a form this version knows"
        raise ConfigError(message, at=_at(said, file))
    if not trusted:
        _refuse_reach(config, merged, node, file)
    return merged


def _refuse_reach(before: Config, after: Config, node: yaml.Node, file: str) -> None:
    """Refuse what only the user may decide."""
    hint = "move it to your own ~/.config/orchestrate/config.yaml, or use the flag"
    for key, value in _pairs(node, file, ""):
        at = _at(key, file)
        if key.value in USER_ONLY:
            raise ConfigError(f"{key.value}: a repository may not set this", at=at, hint=hint)
        for inner in USER_ONLY_KEYS.get(key.value, ()):
            if any(one.value == inner for one, _ in _pairs(value, file, key.value)):
                raise ConfigError(
                    f"{key.value}.{inner}: a repository may not set this", at=at, hint=hint
                )
        for name in LIMITS.get(key.value, ()):
            old = getattr(getattr(before, key.value), name)
            new = getattr(getattr(after, key.value), name)
            if old is not None and (new is None or new > old):
                raise ConfigError(
                    f"{key.value}.{name}: a repository may lower a limit, not raise it",
                    at=at,
                    hint=hint,
                )


def _at(node: yaml.Node, file: str) -> At:
    return At(file, node.start_mark.line + 1, node.start_mark.column + 1)


def _pairs(node: yaml.Node, file: str, where: str) -> list[tuple[Any, Any]]:
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"{where or 'the file'}: expected a mapping", at=_at(node, file))
    seen: set[str] = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise ConfigError(f"{where or 'the file'}: a key must be text", at=_at(key, file))
        if key.value in seen:
            raise ConfigError(
                f"{where + '.' if where else ''}{key.value}: given twice", at=_at(key, file)
            )
        seen.add(key.value)
    return list(node.value)


def _decode(  # noqa: PLR0911 - one way out for each kind of type
    kind: Any, node: yaml.Node, file: str, where: str, base: object = None
) -> Any:
    """Turn a YAML node into a value of a type, or point at what does not fit."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _decode_record(typing.cast("type", kind), node, file, where, base)
    if origin in {types.UnionType, typing.Union}:
        if isinstance(node, yaml.ScalarNode) and node.tag.endswith(":null"):
            return None
        inner = next(one for one in arguments if one is not type(None))
        return _decode(inner, node, file, where)
    if origin is Literal:
        if not isinstance(node, yaml.ScalarNode) or node.value not in arguments:
            raise ConfigError(
                f"{where}: expected one of {', '.join(arguments)}", at=_at(node, file)
            )
        return node.value
    if origin is tuple:
        if not isinstance(node, yaml.SequenceNode):
            raise ConfigError(f"{where}: expected a list", at=_at(node, file))
        return tuple(_decode(arguments[0], one, file, where) for one in node.value)
    if origin is not None and issubclass(origin, Mapping):
        pairs = _pairs(node, file, where)
        return {
            key.value: _decode(arguments[1], one, file, f"{where}.{key.value}")
            for key, one in pairs
        }
    return _decode_scalar(kind, node, file, where)


def _decode_record(kind: type, node: yaml.Node, file: str, where: str, base: object) -> Any:
    hints = typing.get_type_hints(kind)
    prefix = f"{where}." if where else ""
    values: dict[str, Any] = {}
    for key, value in _pairs(node, file, where):
        if key.value not in hints:
            raise ConfigError(
                f"{prefix}{key.value}: unknown key",
                at=_at(key, file),
                hint=_nearest(key.value, list(hints)),
            )
        old = getattr(base, key.value, None) if base is not None else None
        values[key.value] = _decode(hints[key.value], value, file, f"{prefix}{key.value}", old)
    if base is not None:
        return dataclasses.replace(typing.cast("Any", base), **values)
    try:
        return kind(**values)
    except TypeError:
        needed = [
            one.name
            for one in dataclasses.fields(typing.cast("Any", kind))
            if one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING
        ]
        missing = ", ".join(name for name in needed if name not in values)
        raise ConfigError(f"{where}: {missing} must be given", at=_at(node, file)) from None


def _decode_scalar(kind: type, node: yaml.Node, file: str, where: str) -> Any:
    expected = SCALARS[kind]
    tag = node.tag.rpartition(":")[2]
    if isinstance(node, yaml.ScalarNode):
        if kind is str and tag not in {"null", "bool"}:
            return node.value
        if kind is bool and tag == "bool" and node.value.lower() in {"true", "false"}:
            return node.value.lower() == "true"
        if kind in {int, float} and tag in ({"int"} if kind is int else {"int", "float"}):
            try:
                number = kind(node.value.replace("_", ""))
            except ValueError:
                number = -1
            if 0 <= number < float("inf"):
                return number
            expected += ", not negative"
    raise ConfigError(f"{where}: expected {expected}", at=_at(node, file))


def _nearest(word: str, known: list[str]) -> str:
    import difflib

    close = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(known)}"
