"""One client for every service: asks, waits, pages, and asks again where that is safe."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import field
from typing import Any
from urllib.parse import urlencode, urlsplit

import anyio
import httpx2
import orjson

from orchestrator.errors import ConfigError, TrackerBusy, TrackerError, Unanswered
from orchestrator.forge.kept import KeptAnswers
from orchestrator.forge.refusals import is_limited, message_of, one_line, refusal
from orchestrator.forge.secret import Credential
from orchestrator.forge.waiting import Patience, asked_wait
from orchestrator.values import frozen

BODY_LIMIT = 64 * 1024 * 1024
"""Of one answer: a hundred of the longest comments, each of their characters escaped."""
PAGES = 100
SECRETS = 64
"""How many forms of secrets are remembered; an App changes its token every hour."""
CONNECT_S = 10.0
LONGEST_SHOWN_S = 30 * 86_400.0
NEXT = re.compile(r'<([^<>]+)>\s*;[^,]*?\brel="?next"?', re.IGNORECASE)
UPWARDS = re.compile(r"(?:/|%2f)(?:\.|%2e){1,2}(?:/|%2f|$)|\\|%5c", re.IGNORECASE)
JSON_TYPE = "application/json"
LOCAL = {"127.0.0.1", "::1", "localhost"}


@frozen
class Answer:
    """What a service answered; ``data`` is its JSON, or None where there is none."""

    status: int
    headers: Mapping[str, str]
    data: Any


@frozen
class Dialect:
    """How one service is spoken to.

    Attributes:
        service: its name, for people.
        headers: what every request carries.
        hint: what to do where the credential is refused.
    """

    service: str
    headers: Mapping[str, str] = field(default_factory=dict)
    hint: str = ""


class Forge:
    """A service at one address. No redirect is followed and no request leaves that address.

    Args:
        url: where its API begins; https, but for this machine.
        dialect: how it is spoken to.
        credential: lets requests in.
        patience: how long to wait for it.
        kept: answers that it gave before.
    """

    def __init__(
        self,
        url: str,
        dialect: Dialect,
        credential: Credential,
        *,
        patience: Patience | None = None,
        kept: KeptAnswers | None = None,
    ) -> None:
        self.url = address(url)
        self.service = dialect.service
        self.credential = credential
        self._dialect = dialect
        self._patience = patience or Patience()
        self._kept = kept
        self._sent: set[str] = set()
        plain = self.url.startswith("http://")
        self._client = httpx2.AsyncClient(
            timeout=httpx2.Timeout(self._patience.attempt_s, connect=CONNECT_S),
            verify=not plain,  # a TLS context costs 24 ms, and is of no use to a plain address
            # A run asks a few times in many minutes: no connection outlives its answer, so none is
            # left open by whoever lets go of a tracker.
            limits=httpx2.Limits(max_keepalive_connections=0),
            follow_redirects=False,
            trust_env=not plain,
        )

    def __repr__(self) -> str:
        """Return the service and its address."""
        return f"Forge({self.service}, {self.url})"

    async def get(self, path: str, params: Mapping[str, str | int] | None = None) -> Any:
        """Return what is at a path, as JSON.

        Raises:
            TrackerError: it could not be had.
        """
        return (await self._read(self._url(path, params))).data

    async def pages(
        self, path: str, params: Mapping[str, str | int] | None = None, *, most: int, key: str = ""
    ) -> list[Any]:
        """Return a list that comes in pages; all of it or its first ``most``, never less.

        Args:
            path: of the first page.
            params: of the first page.
            most: how many are enough.
            key: where the list is in each page; empty means that the page is the list.

        Raises:
            TrackerError: a page could not be had, or the pages do not end.
        """
        rows: list[Any] = []
        url, seen = self._url(path, params), set[str]()
        while len(seen) < PAGES:
            seen.add(url)
            answer = await self._read(url)
            page = answer.data.get(key) if key and isinstance(answer.data, dict) else answer.data
            if not isinstance(page, list) or not all(isinstance(one, dict) for one in page):
                raise Unanswered(f"{self.service} answered GET {path} without a list")
            rows += page
            following = NEXT.search(answer.headers.get("link", ""))
            if following is None or len(rows) >= most:
                return rows[:most]
            url = self._own(following[1], path)
            if url in seen:
                break
        raise TrackerError(f"{self.service} answers GET {path} with pages that do not end")

    async def send(self, method: str, path: str, body: Any = None, *, again: bool = False) -> Any:
        """Send a change and return the answer's JSON.

        Args:
            method: of the request.
            path: of the request.
            body: its JSON.
            again: whether sending it twice does no harm; else one whose answer got lost is not
                repeated, and raises ``Unanswered``.

        Raises:
            TrackerError: it was refused, or no answer came.
        """
        answer = await self._asked(method, self._url(path, None), body, again=again)
        return answer.data

    async def claimed(
        self, method: str, path: str, headers: Mapping[str, str], body: Any = None
    ) -> Any:
        """Send a request that brings its own credential, as one for a token does.

        Raises:
            TrackerError: it was refused, or no answer came.
        """
        answer = await self._asked(method, self._url(path, None), body, again=True, own=headers)
        return answer.data

    def told(self, data: Any) -> str:
        """Return what an answer says of itself, in one short line, without our secrets."""
        return message_of(data, hide=self._sent)

    async def aclose(self) -> None:
        """Close the connections, those of the credential too."""
        await self._client.aclose()
        await self.credential.aclose()

    # -- one request, as often as it takes -------------------------------------------------

    async def _read(self, url: str) -> Answer:
        if self._kept is None:
            return await self._asked("GET", url, None, again=True)
        name = self._kept.name(
            url, await self._whose(), repr(sorted(self._dialect.headers.items()))
        )
        known = self._kept.get(name)
        own = {"if-none-match": known["etag"]} if known and _is_plain(known["etag"]) else {}
        answer = await self._asked("GET", url, None, again=True, more=own)
        if answer.status == 304 and known:
            return Answer(200, {"link": str(known["link"])}, known["data"])
        etag = answer.headers.get("etag", "")
        if etag and answer.status == 200:
            link = answer.headers.get("link", "")
            self._kept.put(name, etag=etag, link=link, data=answer.data)
        return answer

    async def _whose(self) -> str:
        return repr(sorted((await self.credential.headers()).items()))

    async def _asked(
        self,
        method: str,
        url: str,
        body: Any,
        *,
        again: bool,
        more: Mapping[str, str] | None = None,
        own: Mapping[str, str] | None = None,
    ) -> Answer:
        what = f"{method} {urlsplit(url).path}"
        attempt, waited, renewed = 0, 0.0, False
        while True:
            let_in = own if own is not None else await self.credential.headers()
            self._sent = (self._sent if len(self._sent) < SECRETS else set()) | _secrets(let_in)
            headers = {**self._dialect.headers, **(more or {}), **let_in}
            wait: float | None = None
            try:
                answer = await self._once(method, url, body, headers)
            except _NotSentError as error:
                failure: TrackerError = Unanswered(str(error), retryable=True, hint=error.hint)
                wait = self._patience.backoff(attempt)
            except Unanswered as error:
                failure = error
                wait = self._patience.backoff(attempt) if again else None
            else:
                if answer.status < 300 or (answer.status == 304 and more):
                    return answer
                if answer.status == 401 and own is None and not renewed:
                    renewed = True
                    if await self.credential.renewed():
                        continue
                failure, wait = self._judged(answer, what, attempt, again=again)
            if wait is None or attempt >= self._patience.retries:
                raise failure
            if waited + wait > self._patience.longest_wait_s:
                raise failure
            await self._patience.sleep(wait)
            waited, attempt = waited + wait, attempt + 1

    def _judged(
        self, answer: Answer, what: str, attempt: int, *, again: bool
    ) -> tuple[TrackerError, float | None]:
        """Return what an answer means, and how long to wait until it may be another one."""
        said = self.told(answer.data)
        failure = refusal(self.service, answer.status, said, what, self._dialect.hint)
        wait = asked_wait(answer.status, answer.headers, said, self._patience.wall())
        if wait is not None and (answer.status < 500 or again):
            # No sooner than asked, and later each time: GitHub takes insistence amiss.
            wait = max(wait, self._patience.backoff(attempt))
            return self._busy(wait, failure), wait
        if isinstance(failure, Unanswered) and again:
            return failure, self._patience.backoff(attempt)
        return failure, None

    def _busy(self, wait: float, failure: TrackerError) -> TrackerBusy:
        shown = min(wait, LONGEST_SHOWN_S)
        hint = f"try again in {shown / 60:.0f} minutes" if wait > 90 else "try again in a minute"
        more = " or longer" if wait > shown else ""
        told = f"{failure} (it asks to wait for {shown:.0f} s{more})"
        return TrackerBusy(told, wait_s=wait, hint=hint)

    async def _once(self, method: str, url: str, body: Any, headers: Mapping[str, str]) -> Answer:
        what = f"{method} {urlsplit(url).path}"
        if self._client.is_closed:
            raise TrackerError(f"{self.service} is not asked any more: {what} came after the end")
        content = None if body is None else orjson.dumps(body)
        sent = {"accept": JSON_TYPE, "user-agent": "issue-orchestrator", **headers}
        if content is not None:
            sent["content-type"] = JSON_TYPE
        try:
            with anyio.fail_after(self._patience.attempt_s):
                return await self._exchanged(method, url, content, sent)
        except (TimeoutError, httpx2.ReadTimeout, httpx2.WriteTimeout):
            raise Unanswered(
                f"{self.service} did not answer {what} in time", retryable=True
            ) from None
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as error:
            raise _NotSentError(
                f"no connection to {self.service} at {self.url}: {type(error).__name__}",
                hint="check the network, and tracker.base_url",
            ) from None
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise Unanswered(
                f"{self.service} broke off its answer to {what}: {type(error).__name__}",
                retryable=True,
            ) from None

    async def _exchanged(
        self, method: str, url: str, content: bytes | None, headers: Mapping[str, str]
    ) -> Answer:
        async with self._client.stream(method, url, content=content, headers=headers) as response:
            data = bytearray()
            async for chunk in response.aiter_bytes():
                data += chunk
                if len(data) > BODY_LIMIT:
                    raise TrackerError(f"{self.service} answers with more than {BODY_LIMIT} bytes")
        named = {name.lower(): value for name, value in response.headers.items()}
        parsed = self._parsed(response.status_code, bytes(data))
        # GraphQL tells of its limits with the status of a success.
        limited = response.status_code < 300 and is_limited(parsed)
        return Answer(429 if limited else response.status_code, named, parsed)

    def _parsed(self, status: int, data: bytes) -> Any:
        if not data:
            return None
        try:
            return orjson.loads(data)
        except orjson.JSONDecodeError:
            if status < 300:
                raise Unanswered(
                    f"{self.service} answered with what is no JSON, or was cut off", retryable=True
                ) from None
            return data.decode("utf-8", "replace")

    # -- addresses -------------------------------------------------------------------------

    def _url(self, path: str, params: Mapping[str, str | int] | None) -> str:
        query = f"?{urlencode(params)}" if params else ""
        return f"{self.url}{path}{query}"

    def _own(self, url: str, path: str) -> str:
        """Return the address of a next page, as long as it is where the first one was.

        Some servers behind a proxy name themselves otherwise; the credential goes to nobody else.
        """
        parts, own = urlsplit(url), urlsplit(self.url)
        # What shares a host with the service, below another path, is not the service.
        below = parts.path.startswith(f"{own.path}/") and not UPWARDS.search(parts.path)
        if (parts.scheme, parts.netloc) != (own.scheme, own.netloc) or not below:
            raise TrackerError(
                f"{self.service} names a next page of GET {path} at another address",
                hint="check tracker.base_url",
            )
        return url


class _NotSentError(Exception):
    """A request never reached the service."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def address(url: str) -> str:
    """Return where an API begins, without a slash at the end.

    Raises:
        ConfigError: it is no address that a secret may be sent to.
    """
    shown = one_line(url.rpartition("@")[2])
    with suppress(ValueError):
        parts = urlsplit(url)
        near = parts.scheme == "http" and parts.hostname in LOCAL
        if (parts.scheme == "https" or near) and parts.hostname:
            if parts.username or parts.password or parts.query or parts.fragment:
                raise ConfigError(
                    f"tracker.base_url: {shown} holds more than an address",
                    hint="leave out name, password, ? and #",
                )
            return url.rstrip("/")
    raise ConfigError(
        f"tracker.base_url: {shown} is no https address", hint="like https://github.example.org"
    )


def _is_plain(text: object) -> bool:
    return isinstance(text, str) and text.isascii() and text.isprintable()


def _secrets(headers: Mapping[str, str]) -> set[str]:
    """Return every form of a secret in which a service might repeat it."""
    found: set[str] = set()
    for value in headers.values():
        last = value.rpartition(" ")[2]
        found |= {value, last}
        if value.startswith("Basic "):
            with suppress(ValueError):
                pair = base64.b64decode(last).decode()
                found |= {pair, pair.partition(":")[2]}
    return {one for one in found if len(one) > 3}
