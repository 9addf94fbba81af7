"""Which hosts may be named, and which addresses are never connected to."""

from __future__ import annotations

import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.egress.allowed import (
    Host,
    is_name,
    parse_host,
    plain_name,
    refusal_of,
    refusal_of_all,
)
from orchestrator.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("pypi.org:443", Host("pypi.org", 443)),
        ("PyPI.org.:443", Host("pypi.org", 443)),
        ("*.pythonhosted.org:443", Host("*.pythonhosted.org", 443)),
        ("b\u00fccher.example:80", Host("xn--bcher-kva.example", 80)),
        ("localhost:8080", Host("localhost", 8080)),
    ],
)
def test_a_host_is_read(text: str, host: Host) -> None:
    """Names are compared in lower case and ASCII, with one port."""
    assert parse_host(text) == host


@pytest.mark.parametrize(
    "text",
    [
        "pypi.org",
        "pypi.org:",
        "pypi.org:https",
        "pypi.org:0",
        "pypi.org:65536",
        "pypi.org:\u0664\u0664\u0663",
        "https://pypi.org:443",
        "pypi.org:443/simple",
        ":443",
        "*:443",
        "*.org:443",
        "a.*.org:443",
        "1.2.3.4:443",
        "0x7f.1:443",
        "127.1:80",
        "2130706433:80",
        "[::1]:443",
        "-a.org:443",
        "a..org:443",
        "a b.org:443",
        "",
    ],
)
def test_what_is_no_host_is_refused(text: str) -> None:
    """A name and a port have to be named; an address in whatever spelling is none."""
    with pytest.raises(ConfigError):
        parse_host(text)


def test_a_star_stands_for_labels_below() -> None:
    """The star covers names below, neither the name itself nor one that merely ends alike."""
    wide = parse_host("*.example.org:443")
    assert wide.matches("a.example.org", 443) and wide.matches("a.b.example.org", 443)
    for name in ("example.org", "badexample.org", ".example.org", "example.org.evil.net"):
        assert not wide.matches(name, 443)
    assert not wide.matches("a.example.org", 80)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.8.8",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "100.100.100.200",
        "192.0.0.192",
        "168.63.129.16",
        "192.88.99.1",
        "::8.8.8.8",
        "fec0::1",
        "198.18.0.1",
        "192.0.2.1",
        "224.0.0.1",
        "239.255.255.250",
        "255.255.255.255",
        "240.0.0.1",
        "::1",
        "::",
        "fe80::1",
        "fe80::1%lo",
        "fc00::1",
        "fd00:ec2::254",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:8.8.8.8",
        "64:ff9b::7f00:1",
        "2002:7f00:1::1",
        "2001:0:53aa:64c::1",
        "2001:db8::1",
        "not an address",
    ],
)
def test_what_is_not_the_internet_is_refused(address: str) -> None:
    """Loopback, private, link-local, metadata, multicast, hidden and broken addresses."""
    assert refusal_of(address)


@pytest.mark.parametrize("address", ["151.101.0.223", "2a04:4e42::223"])
def test_addresses_of_the_internet_may_be_reached(address: str) -> None:
    """What is left are public addresses."""
    assert refusal_of(address) == ""


def test_own_addresses_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A public address that belongs to this machine leads to this machine's own services."""
    bound: list[object] = []

    class Bindable(socket.socket):
        def bind(self, address: object) -> None:
            bound.append(address)

    monkeypatch.setattr(socket, "socket", Bindable)
    assert refusal_of("151.101.0.223") == "it is this machine's own"
    assert bound == [("151.101.0.223", 0)]


def test_one_bad_address_spoils_the_name() -> None:
    """A name that also leads inside is refused as a whole: who answers so has a reason."""
    assert refusal_of_all(["151.101.0.223"]) == ""
    assert "127.0.0.1" in refusal_of_all(["151.101.0.223", "127.0.0.1"])
    assert refusal_of_all([])


@given(st.ip_addresses())
def test_no_address_inside_is_let_through(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    """Whatever the standard library calls private is refused, for every address."""
    if not address.is_global or address.is_multicast:
        assert refusal_of(str(address))


@given(st.text(max_size=80))
def test_any_text_is_a_name_or_is_not(text: str) -> None:
    """Naming never fails; what passes for a name is plain ASCII and no address."""
    name = plain_name(text)
    if is_name(name):
        assert name.isascii() and name == name.lower()
        with pytest.raises(ValueError, match="address"):
            ipaddress.ip_address(name)
