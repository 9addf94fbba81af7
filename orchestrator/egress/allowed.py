"""Which hosts may be reached, and which addresses never are."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable

from orchestrator.errors import ConfigError
from orchestrator.values import frozen

LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
LONGEST_NAME = 253
NEVER = tuple(
    (ipaddress.ip_network(network), why)
    for why, networks in {
        "it carries another address": (
            *("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "::ffff:0:0/96"),
            *("::/96", "192.88.99.0/24"),
        ),
        # Clouds answer there with a machine's own credentials, and no registry calls it private.
        "it is a cloud's own": ("168.63.129.16/32", "192.0.0.0/24"),
        # Newer than the oldest Python's list, which `is_global` goes by.
        "it is not an address of the public internet": (
            *("fec0::/10", "100::/64", "2001:20::/28", "3fff::/20", "5f00::/16"),
        ),
    }.items()
    for network in networks
)
"""RFC 6052, 3056, 4380, 4291, 7526, and the registries of special addresses (RFC 6890)."""


@frozen
class Host:
    """A host and a port that may be reached; ``*.`` in front stands for one or more labels."""

    name: str
    port: int

    def matches(self, name: str, port: int) -> bool:
        """Tell whether a name and a port are meant."""
        if port != self.port:
            return False
        if self.name.startswith("*."):
            return name.endswith(self.name[1:]) and len(name) > len(self.name) - 1
        return name == self.name

    def __str__(self) -> str:
        """Return it as it is written in the settings."""
        return f"{self.name}:{self.port}"


@frozen
class EgressLimits:
    """How many bytes may go through in one run."""

    received: int
    sent: int


def parse_host(text: str) -> Host:
    """Read ``host:port`` as the settings and the flag write it.

    Raises:
        ConfigError: it is no name with a port; an address is none.
    """
    name, _, port = text.strip().rpartition(":")
    name = plain_name(name)
    labels = name.removeprefix("*.").split(".")
    wide = name.startswith("*.") and len(labels) < 2
    if not is_name(name.removeprefix("*.")) or not port.isascii() or not port.isdigit() or wide:
        raise ConfigError(
            f"{text!r} is not a host that the network can be opened to",
            hint="write a name and a port, like pypi.org:443 or *.example.org:443",
        )
    if not 0 < int(port) < 65536:
        raise ConfigError(f"{text!r}: there is no port {port}")
    return Host(name, int(port))


def plain_name(name: str) -> str:
    """Return a name as names are compared: lower case, without the root's dot, in ASCII."""
    name = name.lower().removesuffix(".")
    if name.isascii():
        return name
    try:
        return name.encode("idna").decode("ascii")
    except UnicodeError:
        return ""


def is_name(name: str) -> bool:
    """Tell whether a text is a host's name, and not an address in any of its spellings."""
    labels = name.split(".")
    last = labels[-1]
    # An address's last part is a number, decimal or hexadecimal (the URL standard's own rule).
    number = last.isdigit() or re.fullmatch(r"0x[0-9a-f]*", last) is not None
    return (
        0 < len(name) <= LONGEST_NAME
        and not number
        and all(LABEL.fullmatch(label) for label in labels)
    )


def refusal_of(address: str) -> str:
    """Return why an address is never connected to; empty if it may be.

    Only addresses of the public internet may be: no loopback, private, link-local (which holds
    the clouds' metadata), multicast or reserved one, none that hides another, none of this
    machine's own.
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return "it is not an address"
    for network, why in NEVER:
        if found.version == network.version and found in network:
            return why
    if not found.is_global or found.is_multicast or found.is_reserved or found.is_unspecified:
        return "it is not an address of the public internet"
    return "it is this machine's own" if _is_own(found) else ""


def _is_own(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Tell whether an address is one of this machine's: only such a one can be bound."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError:
        return False
    return True


def refusal_of_all(addresses: Iterable[str]) -> str:
    """Return why a name is not connected to, judged by all its addresses; empty if it may be."""
    found = list(addresses)
    if not found:
        return "the name has no address"
    for one in found:
        why = refusal_of(one)
        if why:
            return f"the name leads to {one}: {why}"
    return ""
