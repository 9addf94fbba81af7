"""Values are held against what ``dataclasses`` makes of the same class."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import typing
from dataclasses import FrozenInstanceError, dataclass, field
from functools import partial
from typing import Any, cast

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.values import frozen


@frozen
class Point:
    """Where something is."""

    x: int
    y: int = 0
    tags: tuple[str, ...] = field(default=(), repr=False)
    seen: dict[str, int] = field(default_factory=dict)

    @property
    def far(self) -> bool:
        return self.x > 9


@dataclass(frozen=True, slots=True)
class Plain:
    """Where something is."""

    x: int
    y: int = 0
    tags: tuple[str, ...] = field(default=(), repr=False)
    seen: dict[str, int] = field(default_factory=dict)

    @property
    def far(self) -> bool:
        return self.x > 9


NAMES = ("x", "y", "tags", "seen")
MADE_OF = {
    "x": st.integers(),
    "y": st.integers(),
    "tags": st.tuples(st.text(max_size=3)),
    "seen": st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
}


@st.composite
def arguments(draw: st.DrawFn) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Draw arguments of any kind: too few, too many, twice, unknown."""
    count = draw(st.integers(0, 5))
    placed = [draw(MADE_OF[NAMES[min(at, 3)]]) for at in range(count)]
    named = draw(st.sets(st.sampled_from([*NAMES, "other"])))
    return tuple(placed), {name: draw(MADE_OF.get(name, st.none())) for name in sorted(named)}


def outcome(kind: Any, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
    try:
        made = kind(*args, **named)
    except TypeError:
        return TypeError
    return tuple(getattr(made, name) for name in NAMES)


@given(arguments())
def test_it_takes_and_refuses_what_a_dataclass_does(
    given_: tuple[tuple[Any, ...], dict[str, Any]],
) -> None:
    assert outcome(Point, *given_) == outcome(Plain, *given_)


@given(arguments(), arguments())
def test_equality_hashes_words_and_json_are_a_dataclass_s(
    one: tuple[tuple[Any, ...], dict[str, Any]], other: tuple[tuple[Any, ...], dict[str, Any]]
) -> None:
    try:
        plain, plain_other = Plain(*one[0], **one[1]), Plain(*other[0], **other[1])
    except TypeError:
        return
    made, made_other = Point(*one[0], **one[1]), Point(*other[0], **other[1])
    assert (made == made_other) == (plain == plain_other)
    assert made == Point(*one[0], **one[1])
    assert made != cast(object, plain)
    assert repr(made) == repr(plain).replace("Plain", "Point")
    small = -(2**60) < made.x < 2**60 and -(2**60) < made.y < 2**60
    if small:
        assert orjson.dumps(made) == orjson.dumps(plain)
    assert dataclasses.asdict(made) == dataclasses.asdict(plain)
    assert dataclasses.replace(made, y=7) == Point(made.x, 7, made.tags, made.seen)
    assert copy.copy(made) == made and copy.deepcopy(made) == made
    assert pickle.loads(pickle.dumps(made)) == made
    assert made.far == plain.far


def test_it_is_hashed_by_its_fields() -> None:
    @frozen
    class Name:
        """A name."""

        text: str
        number: int = 1

    assert {Name("a"), Name("a", 1), Name("b")} == {Name("b"), Name("a")}
    with pytest.raises(TypeError, match="unhashable"):
        hash(Point(1))


def test_it_is_described_like_a_dataclass() -> None:
    assert dataclasses.is_dataclass(Point(1))
    mine, theirs = dataclasses.fields(Point), dataclasses.fields(Plain)
    for one, other in zip(mine, theirs, strict=True):
        assert (one.name, one.type, one.default, one.default_factory, one.repr) == (
            other.name,
            other.type,
            other.default,
            other.default_factory,
            other.repr,
        )
    assert typing.get_type_hints(Point) == typing.get_type_hints(Plain)
    assert Point.__match_args__ == Plain.__match_args__
    assert Point.__doc__ == Plain.__doc__
    assert Point.__qualname__ == "Point" and Point.__module__ == Plain.__module__
    match Point(3, 4):
        case Point(x, y):
            assert (x, y) == (3, 4)


def test_nothing_of_it_can_be_changed() -> None:
    point = Point(1)
    for change in (
        partial(setattr, point, "x", 2),
        partial(setattr, point, "new", 2),
        partial(delattr, point, "x"),
    ):
        with pytest.raises(FrozenInstanceError):
            change()
    assert not hasattr(point, "__dict__")
    assert point == Point(1)


def test_each_has_a_default_of_its_own() -> None:
    one, other = Point(1), Point(1)
    one.seen["a"] = 1
    assert other.seen == {}


def test_a_class_that_cannot_be_one_is_refused() -> None:
    with pytest.raises(TypeError, match="follows one"):

        @frozen
        class Wrong:
            a: int = 1
            b: int  # type: ignore[misc]

    with pytest.raises(TypeError, match="inherits"):

        @frozen
        class Child(Plain):
            pass

    with pytest.raises(TypeError, match="default_factory"):

        @frozen
        class Shared:
            a: list[int] = []  # noqa: RUF012 - what is refused


def test_what_a_class_says_of_itself_wins() -> None:
    @frozen
    class Secret:
        """A secret."""

        text: str

        def __repr__(self) -> str:
            return "Secret(...)"

    assert repr(Secret("x")) == "Secret(...)"


def test_arguments_that_do_not_fit_are_named() -> None:
    with pytest.raises(TypeError, match="Point lacks x"):
        Point()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="given x twice"):
        Point(1, x=2)  # type: ignore[misc]
    with pytest.raises(TypeError, match="given z that it does not have"):
        Point(1, z=2)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="takes 4 values, 5 were given"):
        Point(1, 2, (), {}, 5)  # type: ignore[call-arg]
