"""Which proxy the environment names for the service, and for which services it names none."""

from __future__ import annotations

import pytest

from orchestrator.errors import ModelRefused
from orchestrator.models.ways import way_to

NAME = "service.example"
BASIC = "YW5uOnBAc3M="


@pytest.mark.parametrize(
    ("environment", "proxy"),
    [
        ({}, ""),
        ({"HTTP_PROXY": "http://a:1"}, ""),
        ({"HTTPS_PROXY": "http://a:1"}, "a:1"),
        ({"HTTPS_PROXY": " http://a:1 "}, "a:1"),
        ({"https_proxy": " http://a:1 "}, "a:1"),
        ({"HTTPS_PROXY": "a:1"}, "a:1"),
        ({"HTTPS_PROXY": "http://a"}, "a:80"),
        ({"HTTPS_PROXY": "https://a"}, "a:443"),
        ({"HTTPS_PROXY": "http://[::1]:1"}, "[::1]:1"),
        ({"HTTPS_PROXY": "http://a:1", "https_proxy": "http://b:2"}, "b:2"),
        ({"https_proxy": "http://b:2", "HTTPS_PROXY": "http://a:1"}, "b:2"),
        ({"HTTPS_PROXY": "http://a:1", "https_proxy": ""}, ""),
        ({"HTTPS_PROXY": "http://a:1", "https_proxy": " "}, ""),
        ({"ALL_PROXY": "http://c:3"}, "c:3"),
        ({"ALL_PROXY": "http://c:3", "HTTPS_PROXY": "http://a:1"}, "a:1"),
        ({"all_proxy": "http://c:3", "HTTPS_PROXY": "http://a:1"}, "a:1"),
        ({"HTTPS_PROXY": " ", "ALL_PROXY": "http://c:3"}, "c:3"),
    ],
)
def test_the_environment_names_the_proxy(environment: dict[str, str], proxy: str) -> None:
    """Lower case comes before upper case, also where it is empty, and the kind before all."""
    found = way_to(f"https://{NAME}", environment).proxy
    assert (found.authority if found else "") == proxy


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("url", ["socks5://ann:p%40ss@a:1", "http://ann:p%40ss@a:port", "http://"])
def test_a_proxy_of_no_use_is_refused_and_not_repeated(name: str, url: str) -> None:
    """The variable is named that has to be mended."""
    with pytest.raises(ModelRefused) as caught:
        way_to(f"https://{NAME}", {name: url})
    assert str(caught.value) == f"{name.upper()} is not an address"
    assert "p%40ss" not in f"{caught.value!r} {caught.value.hint}"


@pytest.mark.parametrize(
    ("excepted", "url", "straight"),
    [
        ("*", f"https://{NAME}", True),
        ("a, *", f"https://{NAME}", True),
        (NAME, f"https://{NAME}", True),
        (NAME.upper(), f"https://{NAME}", True),
        (NAME, f"https://{NAME.upper()}", True),
        (f"a,{NAME} ,b", f"https://{NAME}", True),
        (f"a {NAME}", f"https://{NAME}", True),
        ("example", f"https://{NAME}", True),
        (".example", f"https://{NAME}", True),
        ("*.example", f"https://{NAME}", True),
        (f".{NAME}", f"https://{NAME}", True),
        (f"{NAME}:443", f"https://{NAME}", True),
        (f"{NAME}:8443", f"https://{NAME}:8443", True),
        (f"{NAME}:8443", f"https://{NAME}", False),
        ("vice.example", f"https://{NAME}", False),
        (f"{NAME}.org", f"https://{NAME}", False),
        ("xample", f"https://{NAME}", False),
        (",, .", f"https://{NAME}", False),
        ("10.0.0.1", "https://10.0.0.1", True),
        ("0.0.1", "https://10.0.0.10", False),
        ("10.0.0.0/8", "https://10.1.2.3", True),
        ("10.0.0.9/8", "https://10.1.2.3:8443", True),
        ("10.0.0.0/8", "https://11.1.2.3", False),
        ("10.0.0.0/8", f"https://{NAME}", False),
        ("10.0.0.0/99", "https://10.1.2.3", False),
        ("::1", "https://[::1]:8443", True),
        ("[::1]", "https://[::1]:8443", True),
        ("[::1]:8443", "https://[::1]:8443", True),
        ("fd00::/8", "https://[fd00::1]", True),
        ("::2", "https://[::1]", False),
    ],
)
@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
def test_some_places_are_reached_straight(
    name: str, excepted: str, url: str, straight: bool
) -> None:
    """By name, a name above it, with its port, as a number, by a network, or all."""
    way = way_to(url, {"HTTPS_PROXY": "http://a:1", name: excepted})
    assert (way.proxy is None) is straight


def test_a_password_is_not_shown_with_a_way() -> None:
    """A way in a log or a traceback tells where, not with what."""
    url = "ann:p%40ss@a:1"
    way = way_to(f"https://{url}", {"HTTPS_PROXY": f"http://{url}"})
    assert way.place.credential == f"Basic {BASIC}"
    assert BASIC not in repr(way)
