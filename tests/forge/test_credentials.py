"""Where secrets come from, and that they go nowhere else."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from orchestrator.errors import ConfigError, TrackerError, TrackerRefused
from orchestrator.forge import secret
from orchestrator.forge.app import AppToken
from orchestrator.forge.secret import Places, RenewedToken, Token, found, private_text
from tests.forges.asking import NOW, on_github
from tests.forges.github import issue

CANARY = "ghp_canary4711"


def a_secret(places: Places, **environment: str) -> str:
    """Look for a secret of GitHub."""
    return found(places, {"PATH": "/usr/bin:/bin", **environment}, service="GitHub")


def test_the_first_variable_that_is_set_counts() -> None:
    """Names are looked through in order, blanks are nothing."""
    names = Places(("GITHUB_TOKEN", "GH_TOKEN"))
    assert a_secret(names, GITHUB_TOKEN=" ", GH_TOKEN=f"{CANARY}\n") == CANARY
    with pytest.raises(ConfigError, match="no credential for GitHub") as told:
        a_secret(names)
    assert "GITHUB_TOKEN" in told.value.hint and told.value.exit_code == 2


def test_a_command_or_a_file_comes_first(tmp_path: Path) -> None:
    """What the settings name wins over the environment; no shell is started."""
    file = tmp_path / "token"
    file.write_text(f"{CANARY}\n", encoding="ascii")
    file.chmod(0o600)
    given = {"GITHUB_TOKEN": "other"}
    assert a_secret(Places(("GITHUB_TOKEN",), file=str(file)), **given) == CANARY
    assert a_secret(Places(("GITHUB_TOKEN",), command=f"cat {file}"), **given) == CANARY
    assert a_secret(Places((), command="printf %s 'a;b'")) == "a;b"


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("false", "status 1"),
        ("/nonexistent/program", "cannot start"),
        ("", "no credential"),
        ("'", "is no command"),
        (f"sh -c 'echo {CANARY} >&2; exit 3'", "status 3"),
        (f"printf '{CANARY}\\n{CANARY}'", "holds what none does"),
        ("true", "is empty"),
    ],
)
def test_a_command_that_fails_is_told_without_its_words(command: str, told: str) -> None:
    """The error names the program and its status, never what it printed."""
    with pytest.raises(ConfigError, match=told) as error:
        a_secret(Places(("GITHUB_TOKEN",), command=command))
    assert CANARY not in f"{error.value}{error.value.hint}"


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("sh -c 'sleep 600 & exec sleep 600'", "took too long"),
        ("sh -c 'exec sleep 600 >/dev/null'", "took too long"),
        ("yes", "more than a secret"),
    ],
)
def test_no_command_is_waited_for_without_end(
    command: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither one that hangs, nor what it left behind with the pipe, nor one that never stops."""
    monkeypatch.setattr(secret, "COMMAND_S", 0.3)
    with pytest.raises(ConfigError, match=told):
        a_secret(Places(("GITHUB_TOKEN",), command=command))


def test_what_a_command_leaves_running_is_not_waited_for() -> None:
    """A secret that was printed counts, though a daemon of the command still holds the pipe."""
    command = f"sh -c 'sleep 60 & echo {CANARY}'"
    assert a_secret(Places((), command=command)) == CANARY


def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    """Secrets are private, or they are none; a folder or a missing file is told."""
    file = tmp_path / "token"
    file.write_text(CANARY, encoding="ascii")
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="others may read") as told:
        private_text(file, "tracker.token_file")
    assert told.value.hint == f"chmod 600 {file}"
    with pytest.raises(ConfigError, match="cannot be read"):
        private_text(tmp_path / "none", "tracker.token_file")
    with pytest.raises(ConfigError, match=r"cannot be read|no regular file"):
        private_text(tmp_path, "tracker.token_file")


def test_a_pipe_is_no_file_of_secrets(tmp_path: Path) -> None:
    """Nobody waits for what somebody may write into it."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    with pytest.raises(ConfigError, match="no regular file"):
        private_text(pipe, "tracker.token_file")


@pytest.mark.parametrize("style", ["bearer", "private", "plain", "basic"])
def test_a_token_shows_nothing_of_itself(style: Any) -> None:
    """Its secret is in the headers, and in no word for people."""
    token = Token(CANARY, style, "ada")
    assert CANARY not in f"{token!r}{token}"
    text = "".join(asyncio.run(token.headers()).values())
    pair = base64.b64encode(f"ada:{CANARY}".encode()).decode()
    assert CANARY in text or pair in text


def a_key() -> tuple[str, rsa.RSAPublicKey]:
    """Make an App's key."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = serialization.PrivateFormat.TraditionalOpenSSL
    pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    return pem.decode(), key.public_key()


class Grants:
    """GitHub's side of an App: checks the claim and gives tokens."""

    def __init__(self, public: rsa.RSAPublicKey) -> None:
        self.public = public
        self.given = 0
        self.closed = False
        self.answer: Any = None

    async def aclose(self) -> None:
        """Close nothing."""
        self.closed = True

    async def claimed(self, method: str, path: str, headers: Any, body: Any = None) -> Any:
        """Check a claim as GitHub does, and answer."""
        head, claimed, signature = headers["authorization"].removeprefix("Bearer ").split(".")
        raw = base64.urlsafe_b64decode(signature + "==")
        self.public.verify(raw, f"{head}.{claimed}".encode(), padding.PKCS1v15(), hashes.SHA256())
        claim = json.loads(base64.urlsafe_b64decode(claimed + "=="))
        assert claim["iss"] == "Iv1.abc" and claim["exp"] - claim["iat"] == 600
        if method == "GET":
            assert path == "/v3/repos/acme/shop/installation"
            return {"id": 42}
        assert body == {"repositories": ["shop"]}, "a token for this repository alone"
        assert path == "/v3/app/installations/42/access_tokens"
        self.given += 1
        return self.answer or {"token": f"ghs_{self.given}", "expires_at": "2026-05-28T21:26:40Z"}


@pytest.mark.asyncio
async def test_an_app_signs_and_its_token_is_used_until_it_ends() -> None:
    """One exchange serves for an hour less some minutes; then a new token is asked for."""
    pem, public = a_key()
    grants, now = Grants(public), [NOW]
    app = AppToken(
        "Iv1.abc",
        pem,
        repository="acme/shop",
        exchange=grants,
        top="/v3",
        wall=lambda: now[0],
    )
    assert [await app.secret() for _ in range(3)] == ["ghs_1"] * 3
    now[0] += 3200
    assert await app.secret() == "ghs_1"
    now[0] += 200
    assert (await app.headers())["authorization"] == "Bearer ghs_2"
    assert pem[40:80] not in repr(app) and "ghs_2" not in repr(app)
    await app.aclose()
    assert grants.closed


@pytest.mark.asyncio
@pytest.mark.parametrize("answer", [{"token": "x"}, {"token": "a\nb", "expires_at": "2026"}, [1]])
async def test_an_answer_without_a_token_is_told(answer: Any) -> None:
    """What GitHub gives instead of a token is an error, and not repeated."""
    pem, public = a_key()
    grants = Grants(public)
    grants.answer = answer
    app = AppToken(
        "Iv1.abc",
        pem,
        repository="acme/shop",
        exchange=grants,
        top="/v3",
        wall=lambda: NOW,
    )
    with pytest.raises(TrackerError, match="no token that can be used"):
        await app.secret()


@pytest.mark.parametrize("pem", ["", CANARY, "-----BEGIN PRIVATE KEY-----\nAAAA\n"])
def test_what_is_no_key_is_refused(pem: str) -> None:
    """A broken key is told without being repeated."""
    _, public = a_key()
    with pytest.raises(ConfigError, match="no RSA key") as told:
        AppToken("1", pem, repository="acme/shop", exchange=Grants(public))
    assert CANARY not in str(told.value)


@pytest.mark.asyncio
async def test_a_token_from_a_file_may_be_another_one_later(tmp_path: Path) -> None:
    """What is refused is looked for once more; where it is the same or gone, the refusal stands."""
    file = tmp_path / "token"

    def look() -> str:
        return a_secret(Places((), file=str(file)))

    def put(text: str) -> None:
        file.write_text(text, encoding="ascii")
        file.chmod(0o600)

    put(f"{CANARY}\n")
    token = RenewedToken(look, "private")
    assert CANARY not in f"{token!r}{token}"
    async with on_github(credential=RenewedToken(look)) as stage:
        stage.github.issues[1] = issue(1)
        stage.github.tokens = ["later"]
        with pytest.raises(TrackerRefused):
            await stage.project.forge.get("/repos/acme/shop/issues/1")
        assert stage.server.count("GET") == 1, "the same token is not tried again"
        put("later")
        assert (await stage.project.forge.get("/repos/acme/shop/issues/1"))["number"] == 1
        assert await stage.project.forge.credential.secret() == "later"
        file.unlink()
        stage.github.tokens = []
        with pytest.raises(TrackerRefused):
            await stage.project.forge.get("/repos/acme/shop/issues/1")


class Rotating:
    """A credential whose first token has run out."""

    def __init__(self) -> None:
        self.tokens = ["old", "ghs_canary0123456789"]

    async def headers(self) -> dict[str, str]:
        """Return the token as a header."""
        return {"authorization": f"Bearer {self.tokens[0]}"}

    async def secret(self) -> str:
        """Return the token."""
        return self.tokens[0]

    async def renewed(self) -> bool:
        """Go to the next token."""
        if len(self.tokens) == 1:
            return False
        del self.tokens[0]
        return True

    async def aclose(self) -> None:
        """Close nothing."""


@pytest.mark.asyncio
async def test_a_token_that_was_refused_is_renewed_once() -> None:
    """An App's token that was taken back costs one more exchange, not the run."""
    async with on_github(credential=Rotating()) as stage:
        stage.github.issues[1] = issue(1)
        assert (await stage.project.forge.get("/repos/acme/shop/issues/1"))["number"] == 1
        stage.github.tokens = []
        with pytest.raises(TrackerRefused):
            await stage.project.forge.get("/repos/acme/shop/issues/1")
        assert stage.server.count("GET") == 3
