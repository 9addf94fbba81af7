"""A GitHub App's credential: a signed claim, changed for a token that lasts an hour."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Protocol

import orjson

from orchestrator.errors import ConfigError, TrackerError

EARLY_S = 300.0
"""A token is changed for a new one this long before it ends: a push may take its time."""
CLAIM_S = 540
SKEW_S = 60


class Exchange(Protocol):
    """Asks the service with a claim instead of a token."""

    async def claimed(
        self, method: str, path: str, headers: Mapping[str, str], body: Any = None
    ) -> Any:
        """Send a request and return what its answer holds."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...


class AppToken:
    """The token of an App's installation in one repository.

    Args:
        app: the App's id, or its client id.
        key: its private key, PEM.
        repository: ``owner/name``; the token is good for it alone.
        exchange: asks the service.
        top: what its paths begin with.
        wall: seconds since 1970.
    """

    def __init__(
        self,
        app: str,
        key: str,
        *,
        repository: str,
        exchange: Exchange,
        top: str = "",
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._app = app
        self._signer = _loaded(key)
        self._repository = repository
        self._exchange = exchange
        self._top = top
        self._wall = wall
        self._token = ""
        self._until = 0.0

    def __repr__(self) -> str:
        """Return nothing of the secret."""
        return f"AppToken({self._app!r})"

    async def headers(self) -> Mapping[str, str]:
        """Return the headers; they hold the secret."""
        return {"authorization": f"Bearer {await self.secret()}"}

    async def secret(self) -> str:
        """Return a token that is good for some minutes at least."""
        if self._wall() >= self._until - EARLY_S:
            await self._change()
        return self._token

    async def renewed(self) -> bool:
        """Forget the token that was refused: the next one is new."""
        fresh, self._until = self._until > 0, 0.0
        return fresh

    async def aclose(self) -> None:
        """Close what tokens are asked of."""
        await self._exchange.aclose()

    async def _change(self) -> None:
        claim = {"authorization": f"Bearer {self._claim()}"}
        found = await self._exchange.claimed(
            "GET", f"{self._top}/repos/{self._repository}/installation", claim
        )
        number = found.get("id") if isinstance(found, dict) else None
        if not isinstance(number, int):
            raise TrackerError(
                f"GitHub does not say how the App is installed in {self._repository}"
            )
        path = f"{self._top}/app/installations/{number}/access_tokens"
        # Without this the token would be good for all that the App is installed in.
        wanted = {"repositories": [self._repository.rpartition("/")[2]]}
        given = await self._exchange.claimed("POST", path, claim, wanted)
        try:
            token, until = given["token"], given["expires_at"]
            self._until = datetime.fromisoformat(until).timestamp()
        except (KeyError, TypeError, AttributeError, ValueError):
            raise TrackerError("GitHub gave the App no token that can be used") from None
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise TrackerError("GitHub gave the App no token that can be used")
        self._token = token

    def _claim(self) -> str:
        now = int(self._wall())
        head = _encoded(orjson.dumps({"alg": "RS256", "typ": "JWT"}))
        body = {"iat": now - SKEW_S, "exp": now + CLAIM_S, "iss": self._app}
        signed = head + b"." + _encoded(orjson.dumps(body))
        return (signed + b"." + _encoded(self._signer(signed))).decode()


def _encoded(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _loaded(key: str) -> Callable[[bytes], bytes]:
    """Return what signs with a key.

    Raises:
        ConfigError: it is no RSA key, or the library for it is missing.
    """
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import padding, rsa
    except ImportError:
        raise ConfigError(
            "a GitHub App's key needs a library that is not installed",
            hint="pip install 'issue-orchestrator[github-app]'",
        ) from None
    try:
        private = serialization.load_pem_private_key(key.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        private = None
    if not isinstance(private, rsa.RSAPrivateKey):
        raise ConfigError(
            "the GitHub App's key is no RSA key in PEM form without a password",
            hint="take the .pem file that GitHub gave you, as it is",
        )
    return lambda data: private.sign(data, padding.PKCS1v15(), hashes.SHA256())
