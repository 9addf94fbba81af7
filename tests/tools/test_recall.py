"""What was seen of files, within its bounds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orchestrator_tools.place import fingerprint
from orchestrator_tools.recall import Recall


def keep(recall: Recall, data: bytes) -> None:
    recall.keep(fingerprint(data), data)


@given(sizes=st.lists(st.integers(0, 40), max_size=40))
def test_keeps_the_newest_within_its_bytes(sizes: list[int]) -> None:
    """What is kept makes up at most the limit, and is what was kept last."""
    recall = Recall(limit=100)
    kept = [bytes([index]) * size for index, size in enumerate(sizes)]
    for data in kept:
        keep(recall, data)
    small = [data for data in kept if len(data) <= 25]
    found = [data for data in small if recall.of(fingerprint(data)) == data]
    assert sum(map(len, set(found))) <= 100
    fitting: set[bytes] = set()
    for data in reversed(small):
        if sum(map(len, fitting | {data})) > 100:
            break
        fitting.add(data)
    assert fitting <= set(found)


def test_looking_keeps_a_content_young() -> None:
    """What is asked for is forgotten last."""
    recall = Recall(limit=80)
    for letter in (b"a", b"b", b"c", b"d"):
        keep(recall, letter * 20)
    assert recall.of(fingerprint(b"a" * 20)) == b"a" * 20
    keep(recall, b"e" * 20)
    assert recall.of(fingerprint(b"a" * 20)) == b"a" * 20
    assert recall.of(fingerprint(b"b" * 20)) is None


def test_a_large_content_is_not_kept() -> None:
    """One large file does not push out all others."""
    recall = Recall(limit=80)
    keep(recall, b"a" * 20)
    keep(recall, b"b" * 21)
    assert recall.of(fingerprint(b"b" * 21)) is None
    assert recall.of(fingerprint(b"a" * 20)) == b"a" * 20
