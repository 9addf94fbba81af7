"""What other people read of a run's work: the text of its pull request and of its answers."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from orchestrator.calm import calm
from orchestrator.delivery import evidence_line, finding_line, gate_line, review_line
from orchestrator.prompts import cleaned
from orchestrator.pullrequests import Comment, Thread
from orchestrator.records import Issue, Outcome, Run

BEGIN, END = "<!-- orchestrate:begin -->", "<!-- orchestrate:end -->"
"""What stands between them is ours; what people write around them stays."""
GOES_ON = """\
Comment on the lines or here, then run `orchestrate issue {key}`: comments of people who may write \
to this project, and failed checks, are the next task on this branch."""
TITLE_LIMIT = 200
WORDS_LIMIT = 6000
LINES_MOST = 60
ROW_LIMIT = 400
OURS_LIMIT = 30_000
"""Characters of our part of a text: a host cuts longer ones, and the end of it would be lost."""
FILE_HERE = re.compile(r"(?<![\w:/.~-])/(?:[\w.+@-]+/)+[\w.+@-]*")
VISIBLE = re.compile(r"<!--.*?-->", re.DOTALL)
ROUND = re.compile(r"<!-- orchestrate: round ([0-9]{1,4}) -->")
ANSWER_LIMIT = 1500
"""Characters of an agent's words in a comment."""
ONCE = "This comment is edited when there is more to tell."
ANSWER = "**orchestrate:**"
"""What every answer of ours begins with."""
NUMBER = re.compile(r"[0-9]+")


def title_of(issue: Issue, *, here: bool) -> str:
    """Return the title of an issue's pull request.

    Args:
        issue: what it resolves.
        here: whether the issue is the code host's own, so that its number means this one.
    """
    named = f"#{issue.key}" if here else f"issue {issue.key}"
    # Whoever wrote the issue has written this; squashed, it becomes a commit's message.
    title = calm(plain(issue.title))[: TITLE_LIMIT - len(named) - 3]
    return f"{title} ({named})" if title else f"Issue {plain(issue.key)}"


def plain(text: str) -> str:
    """Return text as one line that a title can be."""
    return " ".join(cleaned(text).split())[:TITLE_LIMIT]


def told(text: str) -> str:
    """Return text of a model or a tool as markdown that does nothing to anybody.

    It notifies no person, closes and links no issue, loads no image, and hides nothing.
    """
    text = cleaned(text)[:WORDS_LIMIT].replace("&", "&amp;").replace("<", "&lt;")
    # An entity alone would not do: hosts look for names and numbers in what is shown.
    return calm(text).replace("![", "!\\[")


def run_marker(run: str) -> str:
    """Return what names the run in its pull request."""
    return f"<!-- orchestrate: run {run} -->"


def issue_marker(issue: str) -> str:
    """Return what names the issue in its pull request."""
    return f"<!-- orchestrate: issue {issue} -->"


def body_of(run: Run, outcome: Outcome, *, closes: bool) -> str:
    """Return the text of a run's pull request: what was done, the evidence, the cost, the way on.

    Args:
        run: which it is.
        outcome: how it ended.
        closes: whether the issue is the code host's own, so that merging closes it.
    """
    issue = run.issue
    own = closes and NUMBER.fullmatch(issue.key) is not None
    lines = [BEGIN, issue_marker(issue.key), run_marker(run.run_id)]
    if run.continues is not None:
        lines.append(f"<!-- orchestrate: round {run.continues.round} -->")
    # A number of another tracker would name somebody else's issue here.
    lines += [f"Resolves #{issue.key}." if own else f"For issue {plain(issue.key)}.", ""]
    if outcome.scripted:
        lines += ["The replies were scripted: no model was asked.", ""]
    if outcome.summary.strip():
        lines += ["### What the agent says", "", *_quoted(told(outcome.summary)), ""]
    lines += ["### What the runtime saw", "", *_facts(outcome), ""]
    if outcome.verdicts:
        lines += ["### Gates", "", *_listed(gate_line(one) for one in outcome.verdicts), ""]
    lines += ["### Review", "", *_reviews(outcome), ""]
    # What has become of the delivery is not told in the midst of it: the same text comes out then.
    seen = [evidence_line(one) for one in outcome.evidence if one.stage != "deliver"]
    if seen:
        lines += ["### Evidence", "", *_listed(seen), ""]
    if outcome.notes:
        lines += ["### Notes", "", *_listed(outcome.notes), ""]
    ending = "\n".join(["### How it goes on", "", GOES_ON.format(key=plain(issue.key)), END])
    return f"{_bounded(chr(10).join(lines))}\n{ending}"


def _bounded(text: str) -> str:
    if len(text) <= OURS_LIMIT:
        return text
    whole = text[:OURS_LIMIT].rpartition("\n")[0]
    return f"{whole}\n\nCut here; the report of the run has the rest.\n"


def merged_body(old: str, new: str) -> str:
    """Return a pull request's text with our part replaced; what people wrote around it stays."""
    begin, end = old.find(BEGIN), old.find(END)
    if begin < 0 or end < begin:
        return f"{old.rstrip()}\n\n{new}" if old.strip() else new
    return f"{old[:begin]}{new}{old[end + len(END) :]}"


def is_ours(body: str, issue: str) -> bool:
    """Tell whether a pull request's text names the issue as ours do."""
    return issue_marker(issue) in body


def answer_of(run: Run, outcome: Outcome) -> str:
    """Return the answer to a thread that a run has worked on."""
    done = f"worked on in commit {outcome.commit[:12]}, which passed the gates."
    lines = [f"{ANSWER} {done if outcome.commit else 'nothing was changed for this.'}"]
    if outcome.summary.strip():
        lines += ["", "The agent says of all that was asked for:", ""]
        lines += _quoted(told(outcome.summary[:ANSWER_LIMIT]))
    lines += ["", f"Run `{plain(run.run_id)}`. If it is not what you meant, answer here."]
    return "\n".join(lines)


def comment_of(run: Run, outcome: Outcome) -> str:
    """Return the issue's own comment: how its last run ended, and where its work is."""
    lines = [f"**{outcome.status}**: run `{plain(run.run_id)}` by {told(plain(outcome.agent))}"]
    if outcome.pull_request:
        lines.append(f"The change waits for you: {plain(outcome.pull_request)}")
    elif outcome.pushed:
        lines.append(f"The work is pushed: `{plain(outcome.pushed)}`")
    if outcome.error:
        why = FILE_HERE.sub("(a file of that machine)", plain(outcome.error))
        lines.append(f"What stopped it: {told(why)}")
    if outcome.summary.strip():
        said = told(outcome.summary[:ANSWER_LIMIT])
        lines.append("\n".join(["The agent says:", "", *_quoted(said)]))
    lines.append(f"Cost: ${outcome.cost_usd:.4f}. {ONCE}")
    return "\n\n".join(lines)


def waits(thread: Thread) -> bool:
    """Tell whether somebody has said something in a thread that we have not answered."""
    last = thread.comments[-1:]
    return bool(last) and not _is_answer(last[0]) and answer_marker(thread) not in thread.markers


def answer_marker(thread: Thread) -> str:
    """Return what marks the answer to the last words of others in a thread."""
    others = [one for one in thread.comments if not _is_answer(one)]
    last = f"{others[-1].author}\0{others[-1].body}" if others else ""
    digest = hashlib.sha256(f"{thread.id}\0{last}".encode("utf-8", "replace")).hexdigest()
    return f"answer/{digest[:32]}"


def _is_answer(comment: Comment) -> bool:
    return VISIBLE.sub("", comment.body).strip().startswith(ANSWER)


def with_round(body: str, number: int) -> str:
    """Return a pull request's text that says how many runs have gone on with it."""
    mark = f"<!-- orchestrate: round {number} -->"
    if ROUND.search(body):
        return ROUND.sub(mark, body, count=1)
    return body.replace(BEGIN, f"{BEGIN}\n{mark}", 1) if BEGIN in body else f"{body}\n{mark}"


def round_of(body: str) -> int:
    """Return how many runs have gone on with a pull request, as its text says."""
    found = ROUND.search(body)
    return int(found[1]) if found else 0


def _quoted(text: str) -> list[str]:
    return [f"> {line}".rstrip() for line in text.strip().splitlines()]


def _listed(lines: Iterable[str]) -> list[str]:
    rows = [f"- {told(' '.join(one.split())[:ROW_LIMIT])}" for one in lines]
    more = len(rows) - LINES_MOST
    return [*rows[:LINES_MOST], *([f"- and {more} more"] if more > 0 else [])]


def _reviews(outcome: Outcome) -> list[str]:
    if not outcome.reviews:
        return ["Not reviewed: no second agent has looked at this."]
    rows: list[str] = []
    for one in outcome.reviews:
        rows += _listed([review_line(one)])
        rows += [f"  {row}" for row in _listed([finding_line(each) for each in one.findings])]
    return rows


def _facts(outcome: Outcome) -> list[str]:
    usage, diff = outcome.usage, outcome.diff
    facts = [
        ("run", outcome.run),
        ("agent", outcome.agent),
        ("model", outcome.model),
        ("commit", outcome.commit),
        ("change", str(diff)),
        ("turns", str(outcome.turns)),
        ("tokens", f"{usage.prompt_tokens} in, {usage.output_tokens} out"),
        ("cost", f"${outcome.cost_usd:.4f}"),
    ]
    return [f"- {name}: {told(plain(value))}" for name, value in facts if value]
