"""Which checks failed on a commit, and what they say of themselves."""

from __future__ import annotations

from typing import Any

from orchestrator.errors import TrackerMissing, TrackerRefused
from orchestrator.forge.fields import number, rows, text
from orchestrator.forge.github import GitHubProject
from orchestrator.forge.tales import bounded
from orchestrator.pullrequests import FailedCheck

FAILED = {"failure", "timed_out", "action_required", "startup_failure", "error"}
SUMMARY_LIMIT = 8_000
TOLD = 10
"""How many failed checks are asked for their annotations."""


async def failed_checks(project: GitHubProject, sha: str) -> tuple[tuple[FailedCheck, ...], int]:
    """Return what failed on a commit, and how many checks have not ended.

    Raises:
        TrackerError: GitHub cannot be asked.
    """
    path = f"{project.path}/commits/{sha}"
    failed: list[FailedCheck] = []
    pending = 0
    try:
        runs = await project.forge.pages(
            f"{path}/check-runs", {"per_page": 100, "filter": "latest"}, most=500, key="check_runs"
        )
    except (TrackerMissing, TrackerRefused):
        runs = []  # a token without the permission `checks`: statuses may still be read
    for one in rows(runs):
        pending += text(one, "status") != "completed"
        if text(one, "conclusion") in FAILED:
            failed.append(await _told(project, one, annotated=len(failed) < TOLD))
    statuses = await project.forge.pages(
        f"{path}/status", {"per_page": 100}, most=500, key="statuses"
    )
    for one in rows(statuses):
        state = text(one, "state")
        pending += state == "pending"
        if state in FAILED:
            said = bounded(text(one, "description"), SUMMARY_LIMIT)
            failed.append(FailedCheck(text(one, "context"), state, said, text(one, "target_url")))
    return tuple(failed), pending


async def _told(project: GitHubProject, run: dict[str, Any], *, annotated: bool) -> FailedCheck:
    parts = [text(run, "output", "title"), text(run, "output", "summary")]
    if annotated and number(run, "output", "annotations_count"):
        where = f"{project.path}/check-runs/{text(run, 'id')}/annotations"
        for one in rows(await project.forge.pages(where, {"per_page": 50}, most=50)):
            place = f"{text(one, 'path')}:{text(one, 'start_line')}"
            parts.append(f"{place}: {text(one, 'message')}")
    said = bounded("\n".join(part for part in parts if part), SUMMARY_LIMIT)
    return FailedCheck(
        name=text(run, "name"),
        conclusion=text(run, "conclusion"),
        summary=said,
        url=text(run, "html_url"),
    )
