"""What the settings say of a workspace's surroundings: network, set-up, what is shared."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from orchestrator.errors import ConfigError
from orchestrator.ports import Sandbox
from orchestrator.preparation import Needs, Network
from orchestrator.records import Mount
from orchestrator.repository import Repository
from orchestrator.sandboxes.inside import toolchains
from orchestrator.settings import Config, WorkspaceSettings
from orchestrator.workspaces import WORKSPACE, Shared

if TYPE_CHECKING:
    from orchestrator.egress.allowed import Host
    from orchestrator.setups import SetupPlan

MB = 1024 * 1024
HOPS = 8


def hosts(texts: Sequence[str]) -> tuple[Host, ...]:
    """Return the hosts that some settings name.

    Raises:
        ConfigError: one is no host with a port.
    """
    if not texts:
        return ()
    from orchestrator.egress.allowed import parse_host

    return tuple(dict.fromkeys(parse_host(text) for text in texts))


def needs_of(
    config: Config,
    *,
    state: Path,
    repository: Repository,
    sandbox: Sandbox,
    environment: Mapping[str, str],
) -> Needs:
    """Return what workspaces of a repository need.

    Raises:
        ConfigError: a setting is broken, or asks for what this sandbox cannot do.
    """
    network = config.sandbox.network
    workspace = config.workspace
    opened = Network(
        received=network.receive_mb * MB,
        sent=network.send_mb * MB,
        agent=hosts(network.allow),
        setup=hosts(workspace.setup_allow),
    )
    if not sandbox.maps_paths:
        _refuse(config, sandbox)
    for name in workspace.share:
        path = PurePosixPath(name)
        if not name or path.is_absolute() or {"..", ".git"} & set(path.parts):
            raise ConfigError(f"workspace.share: {name!r} is not a path inside the checkout")
    repo = hashlib.blake2b(os.fsencode(repository.id), digest_size=8).hexdigest()
    plan = _plan(workspace, sandbox, environment) if workspace.setup else None
    return Needs(opened, plan, state / "setups" / repo)


def _plan(
    workspace: WorkspaceSettings, sandbox: Sandbox, environment: Mapping[str, str]
) -> SetupPlan:
    from orchestrator.setups import INPUTS, SetupPlan

    return SetupPlan(
        commands=workspace.setup,
        inputs=frozenset(workspace.setup_inputs) or INPUTS,
        marks=(sandbox.name, sys.version, environment.get("PATH", ""), *workspace.setup_allow),
        timeout_s=workspace.setup_minutes * 60,
    )


def _refuse(config: Config, sandbox: Sandbox) -> None:
    """Refuse what needs a view of files, and a network, of the sandbox's own."""
    asked = {
        "sandbox.network.allow": config.sandbox.network.allow,
        "workspace.setup": config.workspace.setup,
        "workspace.share": config.workspace.share,
    }
    for name, value in asked.items():
        if value:
            raise ConfigError(
                f"{name} needs bubblewrap or a container, not {sandbox.name.split(':')[0]}",
                hint=f"take {name} out for this run, or use another sandbox",
            )


def shared_of(
    names: Sequence[str], repository: Repository, commit: str, environment: Mapping[str, str]
) -> tuple[Shared, tuple[str, ...]]:
    """Return what is shown of the user's own checkout, and what people should know of the rest."""
    shown: list[str] = []
    mounts: list[Mount] = []
    notices: list[str] = []
    for name in dict.fromkeys(one.rstrip("/") for one in names):
        why = _why_not(name, repository, commit)
        if why or repository.top is None:
            notices.append(f"workspace.share: {name} is not shown: {why}")
            continue
        source = repository.top / name
        shown.append(name)
        mounts.append(Mount(str(source), f"{WORKSPACE}/{name}"))
        mounts += _leaned_on(source, environment)
    return Shared(tuple(shown), tuple(mounts)), tuple(notices)


def _why_not(name: str, repository: Repository, commit: str) -> str:
    top = repository.top
    if top is None:
        return "the repository has no checkout"
    if repository.names(commit, name):
        return "it is part of the commit"
    if not (top / name).exists():
        return "it is not there"
    if (top / name).resolve() != top.resolve() / name:
        return "it leads elsewhere by a link"
    return ""


def _leaned_on(source: Path, environment: Mapping[str, str]) -> list[Mount]:
    """Return what a virtual environment needs to run: its own path, and its interpreter's."""
    if not (source / "pyvenv.cfg").is_file():
        return []
    mounts = [Mount(str(source), str(source))]
    link = source / "bin" / "python"
    for _ in range(HOPS):
        if not link.is_symlink():
            break
        link = Path(os.path.normpath(link.parent / link.readlink()))
        chains, _ = toolchains({**environment, "PATH": str(link.parent)}, in_place=True)
        mounts += [Mount(one.source, one.source) for one in chains]
    return mounts
