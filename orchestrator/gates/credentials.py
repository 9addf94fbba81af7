"""What keys, tokens and passwords look like, and what only looks like them."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Iterator

from orchestrator.gates.paths import matches, name_of
from orchestrator.values import frozen

LINE_LIMIT = 100_000
"""Characters of a line that are looked at in one piece; longer ones are looked at in several."""
OVERLAP = 2_000


@frozen
class Hit:
    """Something secret in a line: what it is and how long, never what it says."""

    kind: str
    length: int


SHAPES = [
    (kind, re.compile(pattern))
    for kind, pattern in (
        (
            "an AWS access key id",
            r"(?<![A-Za-z0-9])(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}(?![A-Z0-9])",
        ),
        ("a GitHub token", r"\bgh[pousr]_[A-Za-z0-9]{36,255}\b"),
        ("a GitHub token", r"\bgithub_pat_[A-Za-z0-9_]{22,255}\b"),
        ("a GitLab token", r"\bgl(?:pat|ptt|dt|rt|cbt|ft|soat|agent|oas|imt)-[\w-]{20,255}"),
        ("a Slack token", r"\bxox[abeoprs]-[A-Za-z0-9-]{10,255}"),
        ("a Slack app token", r"\bxapp-\d-[A-Za-z0-9-]{20,255}"),
        ("a Slack webhook", r"hooks\.slack\.com/(?:services|workflows)/[A-Za-z0-9/_+-]{20,255}"),
        ("a Discord webhook", r"discord(?:app)?\.com/api/webhooks/\d{15,22}/[\w-]{50,100}"),
        ("a Stripe key", r"\b[sr]k_live_[A-Za-z0-9]{16,255}\b"),
        ("a Stripe webhook secret", r"\bwhsec_[A-Za-z0-9+/=]{24,255}"),
        ("a Google API key", r"\bAIza[\w-]{35}(?![\w-])"),
        ("a Google OAuth secret", r"\bGOCSPX-[\w-]{28}(?![\w-])"),
        ("an Anthropic key", r"\bsk-ant-[\w-]{20,255}"),
        ("an OpenAI key", r"\bsk-(?:proj|svcacct|admin|None)-[\w-]{20,255}"),
        ("an OpenAI key", r"\bsk-[A-Za-z0-9]{32,100}\b"),
        ("an OpenRouter key", r"\bsk-or-v1-[0-9a-f]{64}\b"),
        ("a Hugging Face token", r"\bhf_[A-Za-z]{30,60}\b"),
        ("an npm token", r"\bnpm_[A-Za-z0-9]{36}\b"),
        ("a PyPI token", r"\bpypi-AgE[\w-]{50,1000}"),
        ("a SendGrid key", r"\bSG\.[\w-]{20,24}\.[\w-]{39,50}"),
        ("a Twilio key", r"\bSK[0-9a-f]{32}\b"),
        ("a Telegram bot token", r"\b\d{8,10}:AA[\w-]{33}(?![\w-])"),
        ("a DigitalOcean token", r"\bdo[opr]_v1_[0-9a-f]{64}\b"),
        ("a Shopify token", r"\bshp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}\b"),
        ("a Databricks token", r"\bdapi[0-9a-f]{32}\b"),
        ("an Azure storage key", r"\bAccountKey=[A-Za-z0-9+/]{80,90}={0,2}"),
        ("an age key", r"\bAGE-SECRET-KEY-1[0-9A-Z]{58}\b"),
        ("a JSON Web Token", r"\beyJ[\w-]{10,400}\.eyJ[\w-]{10,400}"),
    )
]
PRIVATE_KEY = re.compile(r"-----BEGIN (?:[A-Z0-9]{1,20} ){0,4}PRIVATE KEY(?: BLOCK)?-----")
KEY_BODY = re.compile(r"[A-Za-z0-9+/]{40}")
IN_ADDRESS = re.compile(r"://([^\s:/@\"'<>]{0,100}):([^\s@/\"'<>]{3,200})@[\w.\[-]")
NAME = (
    r"(passw(?:or)?d|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key|auth[_-]?key"
    r"|private[_-]?key|signing[_-]?key|encryption[_-]?key|credential)[\w.-]{0,40}"
)
NAMED = re.compile(
    rf"(?i){NAME}[\"'`]?\]?\s{{0,8}}(?::\s{{0,4}}[\w.\[\]]{{1,30}}\s{{0,4}}=|:=|=>|[:=,])\s{{0,8}}"
    r"[rbuf]{0,2}([\"'`])([^\"'`\n]{8,400})\2"
)
BARE = re.compile(
    rf"(?i)^\s{{0,40}}(?:export\s+|-\s+|ENV\s+)?[\w.-]{{0,40}}?{NAME}\s{{0,4}}[:=]\s{{0,4}}"
    r"([^\s\"'`#;,]{8,400})\s*(?:#.*)?$"
)
BARE_FILES = (
    "*.env",
    ".env*",
    "*.env.*",
    "*.ini",
    "*.cfg",
    "*.conf",
    "*.properties",
    "*.toml",
    "*.yaml",
    "*.yml",
    "*.tfvars",
    ".npmrc",
    ".pypirc",
    ".netrc",
    "Dockerfile*",
    "*.sh",
)
SAMPLE = re.compile(
    r"(?i)example|placeholder|redacted|your[-_ ]|xxxx|dummy|fake|changeme|change[-_]me"
    r"|replace[-_]?me|\*\*\*|\.\.\.|<[^>]*>|\$\{|\$\(|\{\w|\{\{|\}\}|%\(|%s|^\$|^\{"
    r"|123456789|abcdefgh|deadbeef"
)
SOFT = re.compile(r"(?i)test|sample|not[-_]?a|insecure|default|local|mock|stub|demo|changeit")
WORDS = re.compile(r"(?:[A-Za-z]+\d{0,4}|\d{1,4})(?:[-_./:](?:[A-Za-z]+\d{0,4}|\d{1,4}))*")
LETTERS = re.compile(r"[A-Za-z]+(?:[-_./:][A-Za-z]+)*")
REFERENCE = re.compile(r"\s|://|^(?:/|\./|~|os\.|env\.|process\.|self\.)")
CALL_OR_NUMBER = re.compile(r"[\d.,:-]+|[\w.]+\([\w., ]*\)")
WEAK = ("pass", "password", "secret", "test", "example", "admin", "root", "user", "guest")
FILES = (
    ".env",
    ".env.*",
    "id_rsa",
    "id_dsa",
    "id_ecdsa",
    "id_ed25519",
    "*.p12",
    "*.pfx",
    "*.jks",
    "*.keystore",
    "*.kdbx",
    "*.ppk",
    "*.tfstate",
    "*.tfstate.backup",
    "credentials.json",
    "client_secret*.json",
    "service-account*.json",
    "service_account*.json",
    ".git-credentials",
    ".netrc",
    ".pypirc",
    ".htpasswd",
    "**/.aws/credentials",
    "**/.docker/config.json",
    "**/.kube/config",
)
"""Files that hold secrets by their name."""
KEY_FILES = ("*.pem", "*.key", "*.der")
"""Files that may hold a key, or what everybody may see."""
HARMLESS = ("*.example", "*.sample", "*.template", "*.dist", "*.tmpl", "example.env", "sample.env")
PUBLIC = re.compile(r"-----BEGIN (?:TRUSTED |X509 )?(?:CERTIFICATE|PUBLIC KEY|X509 CRL|DH PARAM)")


def in_line(line: str, path: str, *, test: bool) -> Iterator[Hit]:
    """Yield what is secret in a line.

    Args:
        line: its text.
        path: the file's.
        test: whether the file belongs to tests: made-up passwords are ordinary there.
    """
    for at in range(0, max(len(line), 1), LINE_LIMIT):
        yield from _in_part(line[at : at + LINE_LIMIT + OVERLAP], path, test=test)


def _in_part(line: str, path: str, *, test: bool) -> Iterator[Hit]:
    known = list(shapes(line))
    yield from known
    if test:
        return
    for match in IN_ADDRESS.finditer(line):
        user, password = match[1].lower(), match[2]
        if not _is_sample(password) and password.lower() not in {*WEAK, user}:
            yield Hit("a password in an address", len(password))
    if known:
        return
    found = [(match[1], match[3]) for match in NAMED.finditer(line)]
    if not found and matches(path, BARE_FILES):
        bare = BARE.match(line[:1000])
        found = [(bare[1], bare[2])] if bare is not None else []
    for name, value in found:
        if _is_secret_value(name, value):
            yield Hit("a password, key or token in the text", len(value))


def shapes(text: str) -> Iterator[Hit]:
    """Yield the keys and tokens whose very form tells what they are."""
    for kind, pattern in SHAPES:
        for match in pattern.finditer(text):
            if not _is_sample(match[0]) and len(set(match[0])) > 9:
                yield Hit(kind, len(match[0]))


def masked(text: str) -> str:
    """Return a text without the keys and tokens in it whose form tells what they are."""
    for _, pattern in SHAPES:
        text = pattern.sub("(hidden)", text)
    return text


def begins_private_key(line: str) -> bool:
    """Tell whether a private key's first line stands in a line."""
    return PRIVATE_KEY.search(line[:LINE_LIMIT]) is not None


def is_key_body(line: str) -> bool:
    """Tell whether a line may be part of a key's body."""
    return any(len(set(match[0])) > 12 for match in KEY_BODY.finditer(line[:LINE_LIMIT]))


def is_secret_file(path: str, data: bytes | None) -> bool:
    """Tell whether a file should not be in a repository at all.

    Args:
        path: its path.
        data: its contents, or None where they are not known.
    """
    if matches(name_of(path), HARMLESS):
        return False
    if matches(path, KEY_FILES):
        text = (data or b"").decode("utf-8", "replace")
        return PUBLIC.search(text) is None or PRIVATE_KEY.search(text) is not None
    return matches(path, FILES)


def _is_sample(value: str) -> bool:
    return SAMPLE.search(value) is not None


def _is_secret_value(name: str, value: str) -> bool:
    """Tell whether what a name is set to is more than a word that stands for it."""
    if _is_sample(value) or REFERENCE.search(value) or _is_words(value, LETTERS):
        return False
    soft = SOFT.search(value) is not None
    if name.lower().startswith("p") and "key" not in name.lower():
        return _classes(value) >= (3 if soft else 2)
    if soft or CALL_OR_NUMBER.fullmatch(value) or _is_words(value, WORDS):
        return False
    return len(value) >= 16 and _classes(value) >= 2 and _entropy(value) >= 3.0


def _is_words(value: str, form: re.Pattern[str]) -> bool:
    return form.fullmatch(value) is not None and not _mixed(value)


def _mixed(value: str) -> bool:
    """Tell whether letters change case as often as random ones do."""
    changes = sum(a.islower() and b.isupper() for a, b in itertools.pairwise(value))
    return changes >= 4 and len(value) >= 16


def _classes(value: str) -> int:
    kinds = (str.isdigit, str.islower, str.isupper, lambda char: not char.isalnum())
    return sum(any(kind(char) for char in value) for kind in kinds)


def _entropy(value: str) -> float:
    counts = Counter(value)
    return -sum(n / len(value) * math.log2(n / len(value)) for n in counts.values())
