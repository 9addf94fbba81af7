"""What people have said on a pull request, as far as they may write to the project."""

from __future__ import annotations

from typing import Any

from orchestrator.errors import TrackerError
from orchestrator.forge.fields import counted, flag, number, required, rows, text
from orchestrator.forge.github import MOST, GitHubProject
from orchestrator.forge.marks import markers
from orchestrator.forge.tales import COMMENT_LIMIT, bounded, called
from orchestrator.pullrequests import Comment, Thread

PAGES = 10
THREADS = """\
query($owner: String!, $name: String!, $number: Int!, $after: String) {
  repository(owner: $owner, name: $name) {
    pullRequest(number: $number) {
      reviewThreads(first: 50, after: $after) {
        pageInfo { hasNextPage endCursor }
        nodes {
          isResolved
          opening: comments(first: 1) { nodes { databaseId } }
          comments(last: 100) {
            nodes {
              databaseId body path line url authorAssociation author { login __typename }
            }
          }
        }
      }
    }
  }
}"""


async def threads_of(project: GitHubProject, pull: str) -> tuple[tuple[Thread, ...], int]:
    """Return the unresolved threads of a pull request, and how many comments were left out.

    Raises:
        TrackerError: GitHub cannot be asked.
    """
    project.look_anew()
    found: list[Thread] = []
    left_out = 0
    for node in await _nodes(project, pull):
        thread, strangers = await _on_lines(project, pull, node)
        left_out += strangers
        if thread is not None:
            found.append(thread)
    whole, strangers = await _on_the_whole(project, pull)
    return (*found, *whole), left_out + strangers


async def _nodes(project: GitHubProject, pull: str) -> list[dict[str, Any]]:
    owner, _, name = project.name.partition("/")
    nodes: list[dict[str, Any]] = []
    after: str | None = None
    for _ in range(PAGES):
        asked = {"owner": owner, "name": name, "number": int(pull), "after": after}
        data = await project.graphql(THREADS, asked)
        where = ("repository", "pullRequest", "reviewThreads")
        nodes += rows(data, *where, "nodes")
        if not flag(data, *where, "pageInfo", "hasNextPage"):
            return nodes
        after = required(data, "GitHub", *where, "pageInfo", "endCursor")
    raise TrackerError(f"pull request {pull} has more than {PAGES * 50} threads")


async def _on_lines(
    project: GitHubProject, pull: str, node: dict[str, Any]
) -> tuple[Thread | None, int]:
    if flag(node, "isResolved"):
        return None, 0
    own = await project.own_login()
    said = rows(node, "comments", "nodes")
    comments: list[Comment] = []
    answers: list[str] = []
    strangers = 0
    for one in said:
        login, tie = text(one, "author", "login"), text(one, "authorAssociation")
        if text(one, "author", "__typename") == "Bot":
            # As REST calls an App; not whoever has the same name.
            login = f"{login.removesuffix('[bot]')}[bot]"
        mine = login == own
        if mine:
            answers += markers(text(one, "body"))
        if (mine and markers(text(one, "body"))) or await project.may_write(login, tie):
            comments.append(_comment(one, login, tie))
        else:
            strangers += 1
    spoken = [one for one in comments if not markers(one.body)]
    if not spoken or not rows(node, "opening", "nodes"):
        return None, strangers
    first = counted(rows(node, "opening", "nodes")[0], "GitHub", "databaseId")
    return Thread(f"lines:{pull}:{first}", tuple(comments), tuple(answers)), strangers


async def _on_the_whole(project: GitHubProject, pull: str) -> tuple[list[Thread], int]:
    """Return one thread for each review's and each other comment's text."""
    own = await project.own_login()
    reviews = await project.forge.pages(
        f"{project.path}/pulls/{pull}/reviews", {"per_page": 100}, most=1000
    )
    talk = await project.forge.pages(
        f"{project.path}/issues/{pull}/comments", {"per_page": 100}, most=MOST
    )
    answers: list[str] = []
    comments: list[Comment] = []
    strangers = 0
    for one in [*rows(reviews), *rows(talk)]:
        body, login = text(one, "body"), text(one, "user", "login")
        if not body.strip() or text(one, "state") in {"DISMISSED", "PENDING"}:
            continue
        tie = text(one, "author_association")
        if login == own and markers(body):
            answers += markers(body)
        elif await project.may_write(login, tie):
            comments.append(_comment(one, login, tie))
        else:
            strangers += 1
    ids = [one.url.rpartition("#")[2] for one in comments]
    threads = [
        Thread(f"whole:{pull}:{identity}", (one,), tuple(answers), kind="whole")
        for identity, one in zip(ids, comments, strict=True)
    ]
    return threads, strangers


def _comment(data: dict[str, Any], login: str, tie: str) -> Comment:
    return Comment(
        author=called(login),
        body=bounded(text(data, "body"), COMMENT_LIMIT),
        association=tie,
        trusted=True,
        url=text(data, "url") or text(data, "html_url"),
        path=text(data, "path"),
        line=number(data, "line"),
    )
