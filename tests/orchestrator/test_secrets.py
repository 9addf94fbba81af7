"""The gate against secrets, on real commits. Every secret here is made up, and put together."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.gates.credentials import in_line, is_secret_file, masked
from orchestrator.gates.secrets import SecretsGate
from orchestrator.judgesettings import GateWaiver
from orchestrator.records import SECRETS_GATE
from tests.builders import git
from tests.orchestrator.diffs import Files, Work, judged, places

GATE = SecretsGate()
RANDOM = "q7Zp2LxV9tRw4KsY8mNc3HbJ6dFg1TaE5uQiOoPl"
GITHUB = "ghp_" + RANDOM[:36]
AWS = "AKIA" + "QX7ZP2LV5TRW4KSY"
BODY = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj"
KEY = f"-----BEGIN PRIVATE KEY-----\n{BODY}\n-----END PRIVATE KEY-----\n"
OLD = f"TOKEN = '{GITHUB}'\nx = 1\n"
BASE: Files = {"old.py": OLD, "README.md": "x\n"}


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("a.py", "token = os.environ['TOKEN']\n"),
        ("a.py", "password = getpass.getpass()\n"),
        ("a.py", 'password = "changeme-please1"\n'),
        ("a.py", 'PASSWORD_HEADER = "X-Password-Header"\n'),
        ("a.py", 'token_url = "https://example.org/oauth2/token?v=2"\n'),
        ("a.py", 'API_KEY_NAME = "shop_api_key_v2_name"\n'),
        ("a.py", 'secret = f"{prefix}{number:08d}"\n'),
        ("a.py", "AKIAIOSFODNN7EXAMPLE\n"),
        ("a.py", 'START = "-----BEGIN PRIVATE KEY-----"\n'),
        ("README.md", "Set `TOKEN=ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx`.\n"),
        ("compose.yaml", "url: postgres://postgres:postgres@db/shop\n"),
        ("compose.yaml", "url: postgres://app:${DB_PASSWORD}@db/shop\n"),
        ("uv.lock", f'hash = "sha256:{"0f3a9c" * 10}"\n'),
        (".env.example", "TOKEN=\n"),
        ("certs/ca.pem", f"-----BEGIN CERTIFICATE-----\n{BODY}\n-----END CERTIFICATE-----\n"),
        ("tests/test_a.py", 'login("ada", password="Tr0ub4dor&3")\n'),
        ("logo.png", b"\x89PNG\0\1\2\xff" * 50),
    ],
)
def test_honest_work_passes(tmp_path: Path, path: str, text: str | bytes) -> None:
    """References, placeholders, hashes, public keys and what tests make up are no secrets."""
    verdict = judged(tmp_path, GATE, BASE, {path: text})
    assert verdict.state == "passed", verdict.details


SECRETS = [
    GITHUB,
    AWS,
    "github_pat_" + RANDOM,
    "glpat-" + RANDOM[:20],
    "xoxb-" + "123-456-" + RANDOM,
    "https://hooks.slack.com/services/" + "T00AB12CD/B00XY34ZW/" + RANDOM[:24],
    "sk_live_" + RANDOM[:24],
    "AIza" + RANDOM[:35],
    "sk-ant-" + "api03-" + RANDOM,
    "sk-" + "proj-" + RANDOM,
    "sk-" + RANDOM,
    "npm_" + RANDOM[:36],
    "eyJ" + RANDOM[:20] + ".eyJ" + RANDOM + "." + RANDOM,
]
IN_FILES = [
    ("a.py", 'x = "{0}"\n'),
    ("notes.md", "key {0} here\n"),
    ("tests/test_a.py", "send('{0}')\n"),
    ("a.json", '{{"k": "{0}"}}\n'),
]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize(("path", "text"), IN_FILES)
def test_tokens_fail_and_are_not_quoted(secret: str, path: str, text: str) -> None:
    """A token whose form tells what it is, is found in any file, and told without quoting it."""
    hits = list(in_line(text.format(secret), path, test=path.startswith("tests/")))
    assert hits
    assert all(hit.length >= 20 for hit in hits)
    assert secret not in masked(f"a {secret} b")


@pytest.mark.parametrize(
    ("path", "text", "secret"),
    [
        ("a.py", f"x = 1\nTOKEN = '{AWS}'\n", AWS),
        ("a.py", "y = 1\nDB = 'postgres://app:v3ryS3cretW0rd@db/shop'\n", "v3ryS3cretW0rd"),
        ("a.py", f"y = 1\nclient_secret: str = '{RANDOM}'\n", RANDOM),
        ("a.py", "y = 1\npassword = 'Tr0ub4dor&3'\n", "Tr0ub4dor&3"),
        ("a.js", f'{{\n  apiKey: "{RANDOM}" }}\n', RANDOM),
        ("a.yaml", f"a: 1\napi_key: {RANDOM}\n", RANDOM),
        ("conf/app.ini", "[db]\npassword=Tr0ub4dor&3\n", "Tr0ub4dor&3"),
        ("a.py", f"y = 1\n{'x' * 150_000} {GITHUB}\n", GITHUB),
        ("a.txt", f"é\n{GITHUB}\n".encode("utf-16"), GITHUB),
        ("tests/key.py", "K = '''\n" + KEY, BODY),
        ("a.py", f'# a\nKEY = "-----BEGIN RSA PRIVATE KEY-----\\n{BODY}"\n', BODY),
    ],
    ids=range(11),
)
def test_secrets_in_added_lines_fail(
    tmp_path: Path, path: str, text: str | bytes, secret: str
) -> None:
    """A secret fails at its line; nothing of the verdict quotes it."""
    verdict = judged(tmp_path, GATE, BASE, {path: text})
    assert (verdict.state, verdict.gate, verdict.person) == ("failed", SECRETS_GATE, False)
    assert places(verdict) == [f"{path}:2"]
    assert secret not in repr(verdict)
    assert secret[:12] not in repr(verdict)


@pytest.mark.parametrize(
    ("path", "content", "found"),
    [
        (".env", b"A=1", True),
        ("deploy/.env.production", b"A=1", True),
        (".env.example", b"A=1", False),
        ("home/.ssh/id_rsa", b"", True),
        ("home/.ssh/id_rsa.pub", b"", False),
        ("a/ID_ED25519", b"", True),
        ("server.pem", KEY.encode(), True),
        ("server.key", b"\x30\x82", True),
        ("ca.pem", b"-----BEGIN CERTIFICATE-----", False),
        ("both.pem", b"-----BEGIN CERTIFICATE-----\n" + KEY.encode(), True),
        ("store.p12", b"", True),
        ("credentials.json", b"{}", True),
        ("src/credentials.py", b"", False),
        ("environment.py", b"", False),
    ],
)
def test_files_that_hold_secrets(path: str, content: bytes, found: bool) -> None:
    """Files named for their secrets are told by name; keys and certificates by what they hold."""
    assert is_secret_file(path, content) is found


def test_a_secret_file_fails(tmp_path: Path) -> None:
    """A file that should not be committed fails, whatever it says."""
    verdict = judged(tmp_path, GATE, BASE, {"a/.env": "A=1\n"})
    assert (verdict.state, places(verdict)) == ("failed", ["a/.env"])


def test_a_secret_that_was_taken_out_again_is_still_in_the_branch(tmp_path: Path) -> None:
    """A secret in an earlier commit fails: who gets the branch gets that commit too."""
    verdict = judged(
        tmp_path, GATE, BASE, {"a.py": f"'{AWS}'\n"}, {"a.py": "x = 1\n"}, {"b.py": "y = 1\n"}
    )
    assert verdict.state == "failed"
    assert "earlier commit" in verdict.reason
    assert AWS not in repr(verdict)


def test_a_history_without_it_passes(tmp_path: Path) -> None:
    """Once the history is rewritten the same tree passes."""
    work = Work(tmp_path / "repo", BASE)
    work.commit({"a.py": f"'{AWS}'\n"})
    work.commit({"a.py": "x = 1\n"})
    assert work.judged(GATE).state == "failed"
    git(work.path, "reset", "--quiet", "--soft", work.base)
    git(work.path, "commit", "--quiet", "--message=again")
    assert work.judged(GATE).state == "passed"


def test_old_secrets_may_be_moved(tmp_path: Path) -> None:
    """A line that the base has already is no new leak; beside a new one it is."""
    moved: Files = {"old.py": None, "lib/new.py": OLD}
    assert judged(tmp_path / "1", GATE, BASE, moved).state == "passed"
    twice: Files = {**moved, "copy.py": OLD}
    assert judged(tmp_path / "2", GATE, BASE, twice).state == "failed"


def test_names_can_hold_secrets(tmp_path: Path) -> None:
    """A token in a file's name is found, and hidden where the file is named."""
    verdict = judged(tmp_path, GATE, BASE, {f"{GITHUB}.txt": "x\n"})
    assert verdict.state == "failed"
    assert GITHUB not in repr(verdict)


def test_what_is_too_large_needs_a_person(tmp_path: Path) -> None:
    """A file whose lines cannot be told is not passed."""
    verdict = judged(tmp_path, GATE, BASE, {"big.csv": b"1,2\n" * 3_000_000})
    assert (verdict.state, verdict.person, places(verdict)) == ("failed", True, ["big.csv"])


def test_too_many_commits_need_a_person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A history too long to be read is not passed."""
    monkeypatch.setattr("orchestrator.patches.COMMITS_LIMIT", 1)
    verdict = judged(tmp_path, GATE, BASE, {"a.py": "x\n"}, {"a.py": "y\n"})
    assert (verdict.state, verdict.person) == ("failed", True)


def test_a_person_may_let_a_file_pass(tmp_path: Path) -> None:
    """A recorded key of tests can be let pass by its path."""
    gate = SecretsGate(waivers=[GateWaiver("secrets", "made up", paths=("tests/keys/**",))])
    files: Files = {"tests/keys/a.pem": KEY}
    assert judged(tmp_path / "1", GATE, BASE, files).state == "failed"
    assert judged(tmp_path / "2", gate, BASE, files).state == "passed"


@given(st.text(max_size=300), st.sampled_from(["a.py", ".env", "tests/a.yaml", "\udcff"]))
def test_any_line_can_be_looked_at(line: str, path: str) -> None:
    """No text makes the search fall over, and no hit is longer than its line."""
    assert all(hit.length <= len(line) for hit in in_line(line, path, test=False))


@pytest.mark.parametrize(
    "unit", ["eyJ-", "token", "password=", "://a:", "AKIA", "-----BEGIN ", "a", "secret: '"]
)
def test_hostile_lines_come_to_an_end(unit: str) -> None:
    """Lines made to keep a search busy are looked at in time that grows with their length."""
    line = unit * (400_000 // len(unit))

    async def look() -> None:
        with anyio.fail_after(60):
            await anyio.to_thread.run_sync(lambda: list(in_line(line, ".env", test=False)))

    anyio.run(look)
