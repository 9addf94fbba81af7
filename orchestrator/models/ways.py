"""The way to the model's service: its address, whom to trust there, a proxy where one is named."""

from __future__ import annotations

import base64
import dataclasses
import ssl
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from pathlib import Path
from urllib.parse import SplitResult, quote, unquote, urlsplit

import anyio
import anyio.abc
import h11
from anyio.streams.tls import TLSStream

from orchestrator.errors import ModelError, ModelRefused
from orchestrator.models.wire import BROKEN, CHUNK, HEAD_LIMIT, Wire, why
from orchestrator.values import frozen

CONNECT_S = 10.0
PASSING = {408, 429}
"""What a proxy answers, beside its own failures, where a later attempt may fare better."""
PORTS = {"http": 80, "https": 443}
IN_TARGETS = "/%:@!$&'()*+,;=~-._"
"""What may stand in a path besides letters and digits (RFC 3986)."""
AUTHORITIES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
"""Where systems keep whom they trust, for a Python that was built for another one."""
NETWORK_HINT = "check the network, and ANTHROPIC_BASE_URL"
PROXY_HINT = "check HTTPS_PROXY"


@frozen
class Address:
    """Where something listens.

    Attributes:
        credential: what is sent for a user and password in its address; empty where it has none.
    """

    host: str
    port: int
    secure: bool
    credential: str = dataclasses.field(default="", repr=False)

    @property
    def authority(self) -> str:
        """Return host and port as they stand in an address."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@frozen
class Way:
    """How the service is reached.

    Attributes:
        target: the path that is asked for.
        host: how the service is called in a request.
        proxy: through which it is reached; None where that is straight.
    """

    place: Address
    target: str
    host: str
    proxy: Address | None = None


def way_to(url: str, environment: Mapping[str, str]) -> Way:
    """Return how an address is reached.

    Args:
        url: of what is asked.
        environment: names proxies; they are of no use to a plain address.

    Raises:
        ModelRefused: it is no address, or its proxy is of a kind that cannot be used.
    """
    place, parts = _parsed(url, "ANTHROPIC_BASE_URL")
    target = quote(parts.path or "/", safe=IN_TARGETS)
    if parts.query:
        target += "?" + quote(parts.query, safe=IN_TARGETS + "?")
    usual = place.port == PORTS[parts.scheme]
    host = place.authority.rpartition(":")[0] if usual else place.authority
    return Way(place, target, host, _proxy(place, environment) if place.secure else None)


def _parsed(url: str, name: str) -> tuple[Address, SplitResult]:
    """Take an address apart; what is wrong is told without it, since it may hold a password."""
    parts = SplitResult("", "", "", "", "")
    try:
        url.encode()
        parts = urlsplit(url)
        usual = PORTS[parts.scheme]
        port = usual if parts.port is None else parts.port
        host = (parts.hostname or "").encode("idna").decode("ascii")
        known = host.isprintable() and " " not in host and not parts.fragment
    except (KeyError, ValueError):
        port, host, known = 0, "", False
    if not (host and port and known):
        raise ModelRefused(
            f"{name} is not an address", hint=f"set {name} like https://proxy.example.org:8443"
        )
    credential = ""
    if parts.username or parts.password:
        pair = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
        credential = f"Basic {base64.b64encode(pair.encode()).decode('ascii')}"
    return Address(host, port, parts.scheme == "https", credential), parts


def _proxy(place: Address, environment: Mapping[str, str]) -> Address | None:
    """Return the proxy that the environment names for a place."""
    named = {name.lower(): value.strip() for name, value in environment.items() if value.strip()}
    # A variable in lower case is meant first, as everywhere else; also one that names nothing.
    named |= {name: value.strip() for name, value in environment.items() if name.islower()}
    name = "https_proxy" if named.get("https_proxy") else "all_proxy"
    url = named.get(name)
    if not url or _is_excepted(place, named.get("no_proxy", "")):
        return None
    proxy, _ = _parsed(url if "://" in url else f"http://{url}", name.upper())
    return proxy


def _is_excepted(place: Address, excepted: str) -> bool:
    """Tell whether a place is reached straight: by its name, a name above it, or for all."""
    host, authority = place.host.lower(), place.authority.lower()
    names = {host, authority, authority.rpartition(":")[0]}
    parts = excepted.replace(",", " ").lower().split()
    for one in (part.removeprefix("*").lstrip(".") for part in parts):
        if one and (one in names or host.endswith(f".{one}") or _is_within(host, one)):
            return True
    return "*" in parts


def _is_within(host: str, network: str) -> bool:
    """Tell whether a numeric address lies in a network, as 10.0.0.0/8 names one."""
    try:
        return "/" in network and ip_address(host) in ip_network(network, strict=False)
    except ValueError:
        return False


class Connector:
    """Makes connections on one way; whom to trust is looked up once, at the first of them."""

    def __init__(self, way: Way) -> None:
        self._way = way
        self._trusted: ssl.SSLContext | None = None

    async def connect(self) -> Wire:
        """Make a connection.

        Raises:
            ModelError: the service, or the proxy in front of it, is not reached.
        """
        place, proxy = self._way.place, self._way.proxy
        try:
            with anyio.fail_after(CONNECT_S):
                stream = await self._reached(proxy or place)
                if proxy is None:
                    return Wire(stream)
                try:
                    stream = await through(stream, place, proxy)
                    return Wire(await self._encrypted(stream, place.host))
                except BaseException:
                    with anyio.CancelScope(shield=True):
                        await anyio.aclose_forcefully(stream)
                    raise
        except TimeoutError:
            said = f"nothing for {CONNECT_S:g} s"
        except BROKEN as error:
            said = why(error)
        raise ModelError(
            f"no connection to the model's service: {said}"[:400],
            retryable=True,
            unreachable=True,
            hint=NETWORK_HINT if proxy is None else f"{NETWORK_HINT}; {PROXY_HINT}",
        )

    async def _reached(self, place: Address) -> anyio.abc.ByteStream:
        stream: anyio.abc.ByteStream = await anyio.connect_tcp(place.host, place.port)
        if not place.secure:
            return stream
        try:
            return await self._encrypted(stream, place.host)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await anyio.aclose_forcefully(stream)
            raise

    async def _encrypted(self, stream: anyio.abc.ByteStream, host: str) -> anyio.abc.ByteStream:
        if self._trusted is None:
            self._trusted = trusted()
        return await TLSStream.wrap(
            stream, hostname=host, ssl_context=self._trusted, standard_compatible=False
        )


def trusted() -> ssl.SSLContext:
    """Return whom this machine trusts; SSL_CERT_FILE and SSL_CERT_DIR have the first word."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    paths = ssl.get_default_verify_paths()
    if paths.cafile is None and paths.capath is None:
        found = next((one for one in AUTHORITIES if Path(one).is_file()), None)
        if found is not None:
            context.load_verify_locations(found)
    return context


async def through(
    stream: anyio.abc.ByteStream, place: Address, proxy: Address
) -> anyio.abc.ByteStream:
    """Have a proxy pass everything on to a place.

    Raises:
        ModelError: it does not.
    """
    headers = [("host", place.authority), ("user-agent", "issue-orchestrator")]
    if proxy.credential:
        headers.append(("proxy-authorization", proxy.credential))
    parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_LIMIT)
    try:
        asked = h11.Request(method="CONNECT", target=place.authority, headers=headers)
        sent = (parser.send(asked) or b"") + (parser.send(h11.EndOfMessage()) or b"")
        await stream.send(sent)
        while not isinstance(event := parser.next_event(), h11.Response):
            if event is h11.NEED_DATA:
                parser.receive_data(await stream.receive(CHUNK))
            elif not isinstance(event, h11.InformationalResponse):
                raise anyio.EndOfStream
    except (h11.LocalProtocolError, h11.RemoteProtocolError):
        raise ModelRefused("the proxy does not speak HTTP", hint=PROXY_HINT) from None
    status = event.status_code
    if 200 <= status < 300 and not parser.trailing_data[0]:
        return stream
    if status >= 500 or status in PASSING:
        raise ModelError(
            f"no connection to the model's service: the proxy answered {status}",
            retryable=True,
            unreachable=True,
            hint=PROXY_HINT,
        )
    raise ModelRefused(
        f"the proxy refused to reach the model's service: it answered {status}",
        mendable=True,
        hint=PROXY_HINT,
    )
