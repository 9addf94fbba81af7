"""Whoever wants to know that a night has ended is told: a command, an address, or both."""

from __future__ import annotations

import http.client
import ssl
import subprocess
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

import orjson

from orchestrator.batches.report import NightReport
from orchestrator.prompts import cleaned

CREDENTIALS = frozenset(
    {
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_AUTH_TOKEN",
        "GH_TOKEN",
        "GH_ENTERPRISE_TOKEN",
        "GITHUB_TOKEN",
        "GITHUB_ENTERPRISE_TOKEN",
        "GITLAB_TOKEN",
        "JIRA_TOKEN",
        "LINEAR_API_KEY",
    }
)
"""What this program asks services with; a command that is told of a night has no need of it."""


def told_json(night: NightReport, exit_code: int) -> bytes:
    """Return what is told: how the night ended, and where its work is.

    What issues, models and errors say is left out, so that nobody has to be careful with it.
    """
    return orjson.dumps(
        {
            "form": 1,
            "batch": night.night,
            "standing": night.standing,
            "exit_code": exit_code,
            "stopped_by": night.stopped_by or None,
            "began": night.began,
            "ended": night.ended,
            "counts": night.counts,
            "usd": round(night.totals.usd, 6),
            "ceiling_usd": night.ceiling_usd,
            "expected_usd": round(night.forecast.usd, 6),
            "turns": night.totals.turns,
            "issues": [
                {
                    "repo": one.repo,
                    "issue": cleaned(one.issue),
                    "fate": one.fate,
                    "run": one.run,
                    "usd": round(one.usd, 6),
                    "branch": cleaned(one.branch),
                    "pull_request": cleaned(one.pull_request),
                }
                for one in night.issues
            ],
        }
    )


def run_command(
    command: Sequence[str], data: bytes, environment: Mapping[str, str], *, timeout_s: float
) -> str:
    """Run a command with JSON as its input; return what went wrong, empty where nothing.

    Args:
        command: a program and its arguments; no shell reads them.
        data: its standard input.
        environment: of this process; credentials are left out.
        timeout_s: after which it is ended.
    """
    own = {name: value for name, value in environment.items() if name not in CREDENTIALS}
    try:
        done = subprocess.run(
            command,
            input=data,
            env=own,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=timeout_s,
            check=False,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        return f"batch.on_end.command took longer than {timeout_s:g} s, and was ended"
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return f"batch.on_end.command: {command[0]}: {reason}"
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        return f"batch.on_end.command ended with {done.returncode}: {''.join(said)[:200]}"
    return ""


def post(url: str, data: bytes, *, timeout_s: float) -> str:
    """Post JSON to an address; return what went wrong, empty where nothing.

    No redirect is followed, and no answer is read. The address is a secret often, and is not told.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return "batch.on_end.webhook is no address of the web"
    target = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
    connection: http.client.HTTPConnection
    try:
        if parts.scheme == "https":
            context = ssl.create_default_context()
            connection = http.client.HTTPSConnection(
                parts.hostname, parts.port, timeout=timeout_s, context=context
            )
        else:
            connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout_s)
        try:
            headers = {"content-type": "application/json", "user-agent": "issue-orchestrator"}
            connection.request("POST", target, body=data, headers=headers)
            status = connection.getresponse().status
        finally:
            connection.close()
    except TimeoutError:
        return f"batch.on_end.webhook did not answer within {timeout_s:g} s"
    except (OSError, ValueError, http.client.HTTPException) as error:
        return f"batch.on_end.webhook cannot be told: {type(error).__name__}"
    return "" if 200 <= status < 300 else f"batch.on_end.webhook answered with {status}"
