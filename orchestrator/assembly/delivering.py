"""Where work goes beyond this machine, as the settings say; and who is asked for feedback."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from orchestrator.errors import ConfigError
from orchestrator.gates.credentials import masked
from orchestrator.hosts.plain_git import PlainGit
from orchestrator.ports import CodeHost
from orchestrator.publishing import Delivery
from orchestrator.remotes import Remote
from orchestrator.remoteurls import Login
from orchestrator.repository import Repository
from orchestrator.settings import Config


def delivery_of(
    config: Config,
    repository: Repository,
    *,
    state: Path,
    environment: Mapping[str, str],
    host: CodeHost | None = None,
) -> Delivery | None:
    """Return what becomes of work beyond this machine; None where nothing leaves it.

    Args:
        config: the settings.
        repository: whose remote is pushed to.
        state: where private directories are made.
        environment: where tokens and proxies are named.
        host: where pull requests are.

    Raises:
        ConfigError: the settings contradict each other, or the remote cannot be used.
    """
    settings = config.delivery
    if not settings.push:
        for name, asked in (
            ("pull_request", settings.pull_request != "none"),
            ("rescue", settings.rescue),
        ):
            if asked:
                raise ConfigError(
                    f"delivery.{name} is set, and nothing is pushed",
                    hint="set delivery.push: true in your own settings, or leave it out",
                )
        return None
    if settings.pull_request != "none" and host is None:
        raise ConfigError(
            f"delivery.pull_request: {settings.pull_request} needs a code host, and none is set up",
            hint="set delivery.pull_request: none, or name the code host",
        )
    token = _token(settings.token_env, environment)
    remote = Remote(
        repository,
        settings.remote,
        scratch=state / "remotes",
        login=_login(token, host),
        variables=environment,
        timeout_s=settings.timeout_s,
    )
    return Delivery(
        remote=remote,
        host=host or PlainGit(remote.url),
        mode=settings.pull_request,
        base=settings.base,
        labels=settings.labels,
        reviewers=settings.reviewers,
        closes=config.tracker.kind in {"github", "gitlab"},
        rescue=settings.rescue,
        rounds=settings.feedback_rounds,
        clean=masked,
    )


def _token(name: str, environment: Mapping[str, str]) -> str:
    if not name:
        return ""
    token = environment.get(name, "").strip()
    if not token:
        raise ConfigError(
            f"delivery.token_env: the variable {name} is not set", hint=f"set {name} to a token"
        )
    return token


def _login(token: str, host: CodeHost | None) -> Callable[[str], Awaitable[Login | None]]:
    """Return what gives a login for the address of a remote."""

    async def login(origin: str) -> Login | None:
        if token:
            return Login("x-access-token", token)
        if host is None:
            return None
        address, settings = await host.push_url()
        parts = urlsplit(address)
        if f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" != origin:
            return None  # the host's secret is for the host alone
        return login_of(settings)

    return login


def login_of(settings: Mapping[str, str]) -> Login | None:
    """Read name and secret out of the header that git would be told by its environment."""
    for key, value in settings.items():
        name, _, text = value.partition(":")
        if not key.startswith("GIT_CONFIG_VALUE_") or name.strip().lower() != "authorization":
            continue
        kind, _, coded = text.strip().partition(" ")
        if kind.lower() == "basic":
            try:
                user, _, secret = base64.b64decode(coded, validate=True).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                return None
            return Login(user, secret)
        if kind.lower() in {"bearer", "token"}:
            return Login("x-access-token", coded.strip())
    return None


def require_base(delivery: Delivery, ref: str) -> None:
    """Refuse pull requests that nobody says the target of.

    Args:
        delivery: how work is delivered.
        ref: the branch that a run starts from; empty where HEAD is on none.

    Raises:
        ConfigError: neither the settings nor the checkout name a branch.
    """
    if delivery.mode != "none" and not delivery.base and not ref:
        raise ConfigError(
            "HEAD is on no branch, so no pull request knows what it is to be merged into",
            hint="set delivery.base, or check a branch out",
        )


def holding_all(repository: Repository, branches: Sequence[str], base: str) -> str:
    """Return the head of the branch that holds the others and the base; empty if none does."""
    heads = [repository.ref(f"refs/heads/{name}") for name in branches]
    for head in heads:
        others = (one for one in (*heads, base) if one != head)
        if head and all(one and repository.is_ancestor(one, head) for one in others):
            return head
    return ""
