"""What people and checks say of a delivered pull request, as the next task on its branch."""

from __future__ import annotations

import anyio.to_thread

from orchestrator.amounts import counted
from orchestrator.announcing import is_ours, round_of, waits
from orchestrator.errors import DeliveryRefused
from orchestrator.publishing import Delivery
from orchestrator.pullrequests import Continued, Feedback, PullRequest
from orchestrator.records import Run
from orchestrator.repository import Repository
from orchestrator.values import frozen


@frozen
class Standing:
    """How an issue's pull request stands.

    Attributes:
        found: the pull request; None where there is none of ours.
        head: the commit that its branch is at, in the repository here; empty where nothing waits.
        continued: what is to be worked on; None where nothing waits for an answer.
        note: what a person should know.
    """

    found: PullRequest | None = None
    head: str = ""
    continued: Continued | None = None
    note: str = ""


async def standing_of(
    delivery: Delivery, repository: Repository, branch: str, issue: str, last: Run | None
) -> Standing:
    """Look at an issue's pull request, and at what waits for an answer there.

    Args:
        delivery: where pull requests are.
        repository: where the branch's commits are brought.
        branch: the pull request's head.
        issue: the issue's key.
        last: the issue's last run, where one is known here.

    Raises:
        DeliveryRefused: there is feedback, and enough runs have worked on it, or its branch is
            not what the pull request says.
        RemoteUnavailable: the remote cannot be asked.
        TrackerError: the code host cannot be asked.
    """
    if delivery.mode == "none":
        return Standing()
    found = await delivery.host.find(branch)
    if found is None or not is_ours(found.body, issue):
        return Standing()
    if found.state != "open":
        return Standing(found, note=f"its pull request {found.url} is {found.state}")
    said = await delivery.host.feedback(found)
    feedback = Feedback(
        tuple(one for one in said.threads if not one.resolved and waits(one)),
        said.failed,
        said.sha,
        said.pending,
        said.left_out,
    )
    if not feedback.threads and not feedback.failed:
        note = f"{feedback.pending} checks of {found.url} have not ended" * bool(feedback.pending)
        return Standing(found, note=note)
    number = max(_rounds(last, found), round_of(found.body)) + 1
    if number > delivery.rounds:
        runs = f"{counted(delivery.rounds, 'run')} {'has' if delivery.rounds == 1 else 'have'}"
        raise DeliveryRefused(
            f"{found.url} has feedback, and {runs} gone on with it already",
            hint="see to it yourself, or raise delivery.feedback_rounds",
        )
    head = await delivery.remote.fetch(branch)
    if not head or not await anyio.to_thread.run_sync(repository.has, head):
        raise DeliveryRefused(
            f"the branch of {found.url} is gone from {delivery.remote.shown()}",
            hint="restore the branch, or close the pull request",
        )
    continued = Continued(found.number, found.url, branch, number, feedback)
    return Standing(found, head, continued)


def _rounds(last: Run | None, found: PullRequest) -> int:
    if last is None or last.continues is None or last.continues.number != found.number:
        return 0
    return last.continues.round
