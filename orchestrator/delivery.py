"""The branch and the report: once, whatever happens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio.to_thread

from orchestrator.errors import DeliveryRefused
from orchestrator.events import BranchIntended, BranchSet
from orchestrator.prompts import cleaned
from orchestrator.records import Finding, Issue, Outcome, Review, Verdict
from orchestrator.repository import Repository
from orchestrator.stages import Evidence

NOT_REVIEWED = "not reviewed: no second agent has looked at this"
MARKS = {"passed": "passed", "failed": "FAILED", "not_executed": "not executed"}


async def deliver_branch(
    repository: Repository,
    branch: str,
    commit: str,
    emit: Callable[..., Awaitable[None]],
    *,
    intended: bool = False,
) -> BranchSet:
    """Set the branch to the commit that was judged; doing it again changes nothing.

    Args:
        repository: the user's repository.
        branch: the branch's short name.
        commit: what it is set to.
        emit: records the intent.
        intended: whether an earlier process has recorded the intent already.

    Returns:
        What is to be recorded of it.

    Raises:
        DeliveryRefused: the branch has become something that the commit does not continue, or
            somebody has it checked out.
    """
    ref = f"refs/heads/{branch}"
    current, is_set, continues, checked_out = await anyio.to_thread.run_sync(
        lambda: _standing(repository, branch, commit, intended=intended)
    )
    if not is_set:
        if not continues:
            raise DeliveryRefused(
                f"branch {branch} has become something else meanwhile",
                hint=f"the work is commit {commit}: git branch NAME {commit}",
            )
        if checked_out:
            raise DeliveryRefused(
                f"branch {branch} is checked out, so it is not moved",
                hint=f"the work is commit {commit}: git merge {commit}",
            )
        if not intended:
            await emit(BranchIntended(branch, commit))
        await anyio.to_thread.run_sync(lambda: repository.set_ref(ref, commit, expected=current))
    return BranchSet(branch, commit)


def _standing(
    repository: Repository, branch: str, commit: str, *, intended: bool
) -> tuple[str, bool, bool, bool]:
    """Return where a branch is, whether it was set, continues to a commit, and is checked out.

    A process may have been killed right after it had set the branch as it intended, and somebody
    may have built on it since.
    """
    current = repository.ref(f"refs/heads/{branch}")
    if current == commit:
        return current, True, True, False
    continues = not current or repository.is_ancestor(current, commit)
    is_set = intended and not continues and repository.is_ancestor(commit, current)
    return current, is_set, continues, continues and repository.is_checked_out(branch)


def render_report(issue: Issue, outcome: Outcome) -> str:
    """Return the report of a run, as markdown."""
    lines = [f"# Issue {issue.key}: {issue.title}", "", f"**{outcome.status}**", ""]
    if outcome.scripted:
        lines += ["The replies were scripted: no model was asked.", ""]
    if outcome.error:
        lines += [f"What stopped it: {outcome.error}", ""]
    if outcome.hint:
        lines += [f"What to do: {outcome.hint}", ""]
    if outcome.summary:
        lines += ["## What the agent says", "", outcome.summary, ""]
    lines += ["## What the runtime saw", "", *_facts(outcome), ""]
    if outcome.notes:
        lines += ["## Notes", "", *(f"- {note}" for note in outcome.notes), ""]
    if outcome.verdicts:
        lines += ["## Gates", "", *(f"- {gate_line(one)}" for one in outcome.verdicts), ""]
    for verdict in outcome.verdicts:
        if verdict.state == "failed" and verdict.details:
            fence = "`" * 8
            lines += [f"### {verdict.gate}", "", fence, verdict.details[-8000:], fence, ""]
    lines += ["## Review", "", *_reviews(outcome), ""]
    if outcome.evidence:
        lines += ["## Evidence", "", *(f"- {evidence_line(one)}" for one in outcome.evidence), ""]
    # A title or an error may hold what a terminal would act on.
    return cleaned("\n".join(lines))


def _reviews(outcome: Outcome) -> list[str]:
    if not outcome.reviews:
        return [NOT_REVIEWED]
    lines: list[str] = []
    for one in outcome.reviews:
        lines += [f"- {review_line(one)}", *(f"  - {finding_line(each)}" for each in one.findings)]
    return lines


def review_line(review: Review) -> str:
    """Return one review as a line."""
    by = f"{review.agent}, {review.model}, ${review.cost_usd:.4f}"
    return f"review {review.number}: {MARKS[review.state]} ({review.reason}; {by})"


def finding_line(finding: Finding) -> str:
    """Return one finding as a line."""
    place = f"{finding.path}:{finding.line}" if finding.line else finding.path
    flat = " ".join(f"{finding.problem} What would mend it: {finding.advice}".split())
    return f"{finding.severity}: {place or 'the change as a whole'}: {flat}"


def evidence_line(one: Evidence) -> str:
    """Return what was seen of one stage as a line."""
    mark = "seen" if one.seen else ("MISSING" if one.required else "not seen")
    return f"{one.stage}: {mark} ({one.what})"


def gate_line(verdict: Verdict) -> str:
    """Return one gate's verdict as a line."""
    took = f", {verdict.duration_s:.1f} s" if verdict.duration_s else ""
    mark = MARKS[verdict.state]
    if verdict.person and verdict.state == "failed":
        mark += ", a person has to look"
    return f"{verdict.gate}: {mark} ({verdict.reason}{took})"


def _facts(outcome: Outcome) -> list[str]:
    usage = outcome.usage
    diff = outcome.diff
    tokens = f"{usage.prompt_tokens} in ({usage.cache_read_tokens} cached)"
    facts = [
        ("run", outcome.run),
        ("agent", outcome.agent),
        ("model", outcome.model),
        ("branch", outcome.branch),
        ("pushed to", outcome.pushed),
        ("pull request", outcome.pull_request),
        ("commit", outcome.commit),
        ("change", str(diff)),
        ("turns", str(outcome.turns)),
        ("tokens", f"{tokens}, {usage.output_tokens} out"),
        ("cost", f"${outcome.cost_usd:.4f}"),
    ]
    return [f"- {name}: {value}" for name, value in facts if value]
