"""The gate on migrations, on real commits."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.gates.migrations import MigrationsGate
from orchestrator.gates.revisions import alembic_revision, django_revision, last_ones
from orchestrator.gates.schemas import schema
from orchestrator.judgesettings import GateWaiver
from tests.orchestrator.diffs import Files, judged, places

GATE = MigrationsGate()


def alembic(name: str, follows: str | None, body: str = "op.add_column('a', b)") -> str:
    """Write a migration of Alembic."""
    said = f'"{follows}"' if follows and not follows.startswith("(") else follows
    return f'revision: str = "{name}"\ndown_revision = {said}\n\n\ndef upgrade():\n    {body}\n'


def django(follows: str, operations: str = "migrations.AddField()") -> str:
    """Write a migration of Django."""
    needs = f'("shop", "{follows}"), ("auth", "0001_initial")' if follows else ""
    return (
        "class Migration(migrations.Migration):\n"
        f"    dependencies = [{needs}]\n    operations = [{operations}]\n"
    )


MODELS = """from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Item(Base):
    __tablename__ = "items"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(40), doc="what it is called")
    lines: Mapped[list["Line"]] = relationship()

    def price(self):
        return 1


tags = Table("tags", metadata, Column("id", Integer))
"""
ALEMBIC: Files = {
    "alembic.ini": "",
    "migrations/env.py": "",
    "migrations/script.py.mako": "",
    "migrations/versions/001_a.py": alembic("a1", None),
    "migrations/versions/002_b.py": alembic("b2", "a1"),
    "shop/models.py": MODELS,
}
NEXT: Files = {"migrations/versions/003_c.py": alembic("c3", "b2")}
MODEL = 'name = models.CharField("name", max_length=40)'
DJANGO: Files = {
    "shop/models.py": f"class Item(models.Model):\n    {MODEL}\n\n    def f(self):\n        return 1\n",
    "shop/migrations/__init__.py": "",
    "shop/migrations/0001_initial.py": django(""),
    "shop/migrations/0002_more.py": django("0001_initial"),
    "users/models.py": f"class User(models.Model):\n    {MODEL}\n",
    "users/migrations/__init__.py": "",
    "users/migrations/0001_initial.py": django(""),
}


def edit(base: Files, old: str, new: str, path: str = "shop/models.py") -> Files:
    """Return a file of the base with one text replaced."""
    text = base[path]
    assert isinstance(text, str) and old in text
    return {path: text.replace(old, new)}


@pytest.mark.parametrize(
    "files",
    [
        pytest.param({"README.md": "x\n"}, id="no model"),
        pytest.param(edit(ALEMBIC, "return 1", "return 2"), id="a method"),
        pytest.param(edit(ALEMBIC, "what it is called", "its name"), id="a doc"),
        pytest.param(edit(ALEMBIC, "= relationship()", "= relationship(lazy='raise')"), id="lazy"),
        pytest.param({**edit(ALEMBIC, "String(40)", "String(80)"), **NEXT}, id="with a migration"),
        pytest.param({"shop/models.py": None, "shop/items.py": MODELS}, id="moved"),
        pytest.param(NEXT, id="a migration of data"),
        pytest.param({"tests/models.py": MODELS.replace("40", "80")}, id="tests"),
        pytest.param(
            {
                "migrations/versions/x.py": alembic("x", "a1"),
                "migrations/versions/y.py": alembic("y", '("x", "b2")'),
            },
            id="a branch that is merged",
        ),
    ],
)
def test_alembic_passes(tmp_path: Path, files: Files) -> None:
    """What the database does not know, and what comes with a migration, passes."""
    verdict = judged(tmp_path, GATE, ALEMBIC, files)
    assert verdict.state == "passed", verdict.details


V = "migrations/versions/"


@pytest.mark.parametrize(
    ("files", "place", "said"),
    [
        (edit(ALEMBIC, "String(40)", "String(80)"), "shop/models.py", "no new migration"),
        (edit(ALEMBIC, "Mapped[str]", "Mapped[str | None]"), "shop/models.py", "Item.name changed"),
        (
            edit(ALEMBIC, "    def price", "    age: Mapped[int]\n\n    def price"),
            "shop/models.py",
            "age",
        ),
        (edit(ALEMBIC, "Integer)", "BigInteger)"), "shop/models.py", "Table"),
        (edit(ALEMBIC, '"items"', '"things"'), "shop/models.py", "__tablename__"),
        ({"shop/new.py": MODELS.replace("Item", "Other")}, "shop/new.py", "no new migration"),
        ({"shop/models.py": None}, "shop/models.py", "no new migration"),
        ({"shop/n.py": "class A(SQLModel, table=True):\n    id: int\n"}, "shop/n.py", "A.id"),
        (
            {**edit(ALEMBIC, "40", "80"), f"{V}003.py": alembic("c3", "b2", "pass")},
            "shop/models.py",
            "does nothing",
        ),
        ({**edit(ALEMBIC, "40", "80"), f"{V}003.py": "x = 1\n"}, f"{V}003.py", "cannot be read"),
        ({f"{V}003.py": alembic("c3", "a1")}, V, "2 migrations are the last ones"),
        ({f"{V}003.py": alembic("c3", "zz")}, f"{V}003.py", "that there is not"),
        ({f"{V}003.py": alembic("b2", "a1")}, f"{V}003.py", "same name"),
        (
            {f"{V}003.py": alembic("c3", "f()").replace('"f()"', "f()")},
            f"{V}003.py",
            "cannot be read",
        ),
        ({f"{V}002_b.py": alembic("b2", "a1", "op.drop()")}, f"{V}002_b.py", "may have been run"),
        ({f"{V}002_b.py": None}, f"{V}002_b.py", "removed, but"),
        ({f"{V}001_a.py": alembic("a1", "b2")}, V, "in a circle"),
        ({f"{V}003.py": "def broken(:\n"}, f"{V}003.py", "cannot be read"),
    ],
)
def test_alembic_fails(tmp_path: Path, files: Files, place: str, said: str) -> None:
    """A model without a migration, a second head and an edited old migration fail."""
    verdict = judged(tmp_path, GATE, ALEMBIC, files)
    assert (verdict.state, verdict.person) == ("failed", False), verdict.details
    assert place in places(verdict), verdict.details
    assert said in verdict.details


M = "shop/migrations/"
CHANGED = edit(DJANGO, "max_length=40", "max_length=80")


@pytest.mark.parametrize(
    "files",
    [
        pytest.param(edit(DJANGO, "return 1", "return 2"), id="a method"),
        pytest.param({**CHANGED, f"{M}0003_name.py": django("0002_more")}, id="with a migration"),
        pytest.param(
            {
                f"{M}0003_a.py": django("0001_initial"),
                f"{M}0004_merge.py": django("0002_more").replace(
                    '("auth"', '("shop", "0003_a"), ("auth"'
                ),
            },
            id="merged",
        ),
        pytest.param(
            {
                f"{M}0001_squashed.py": django("").replace(
                    "operations",
                    'replaces = [("shop", "0001_initial"), ("shop", "0002_more")]\n    operations',
                )
            },
            id="squashed",
        ),
        pytest.param({"shop/forms.py": "class F(Form):\n    n = forms.CharField()\n"}, id="a form"),
    ],
)
def test_django_passes(tmp_path: Path, files: Files) -> None:
    """A changed field with a migration of its app, merges and squashed migrations pass."""
    verdict = judged(tmp_path, GATE, DJANGO, files)
    assert verdict.state == "passed", verdict.details


@pytest.mark.parametrize(
    ("files", "place", "said"),
    [
        (CHANGED, "shop/models.py", "Item.name changed, but there is no new migration"),
        (
            {**CHANGED, "users/migrations/0002_x.py": django("")},
            "shop/models.py",
            "no new migration",
        ),
        ({**CHANGED, f"{M}0003_x.py": django("0002_more", "")}, "shop/models.py", "does nothing"),
        ({f"{M}0003_x.py": django("0001_initial")}, M, "2 migrations are the last ones"),
        ({f"{M}0002_more.py": django("0001_initial", "")}, f"{M}0002_more.py", "may have been run"),
        ({f"{M}0003_x.py": "x = 1\n"}, f"{M}0003_x.py", "cannot be read"),
    ],
)
def test_django_fails(tmp_path: Path, files: Files, place: str, said: str) -> None:
    """A changed field without a migration of its own app, and a second leaf, fail."""
    verdict = judged(tmp_path, GATE, DJANGO, files)
    assert verdict.state == "failed"
    assert place in places(verdict), verdict.details
    assert said in verdict.details


def test_two_heads_of_the_base_are_not_the_agent_s(tmp_path: Path) -> None:
    """What was wrong before is not held against the change."""
    base: Files = {**ALEMBIC, f"{V}other.py": alembic("o", "a1")}
    assert judged(tmp_path / "1", GATE, base, NEXT).state == "passed"
    worse: Files = {f"{V}third.py": alembic("t", "a1")}
    assert judged(tmp_path / "2", GATE, base, worse).state == "failed"


def test_without_migrations_there_is_nothing_to_judge(tmp_path: Path) -> None:
    """A project without a folder of migrations is not passed: the gate was not executed."""
    verdict = judged(tmp_path, GATE, {"models.py": MODELS}, {"models.py": "x = 1\n"})
    assert verdict.state == "not_executed"
    assert "no folder of migrations" in verdict.reason


def test_models_that_cannot_be_parsed_are_told(tmp_path: Path) -> None:
    """A file that cannot be parsed is told of, and does not make the gate fall over."""
    verdict = judged(tmp_path, GATE, ALEMBIC, {"shop/other.py": "class A(:\n"})
    assert verdict.state == "passed"
    assert "shop/other.py could not be parsed" in verdict.reason


def test_what_is_too_large_needs_a_person(tmp_path: Path) -> None:
    """A file that is too large to be read is not passed."""
    verdict = judged(tmp_path, GATE, ALEMBIC, {"shop/models.py": MODELS + "# x\n" * 1_500_000})
    assert verdict.state == "failed"
    assert "too many" in verdict.details


def test_a_person_may_agree(tmp_path: Path) -> None:
    """A waiver of one file lets its models change without a migration."""
    gate = MigrationsGate(waivers=[GateWaiver("migrations", "a view", paths=("shop/models.py",))])
    assert judged(tmp_path, gate, ALEMBIC, edit(ALEMBIC, "40", "80")).state == "passed"


TEXTS = st.lists(
    st.sampled_from(
        [
            "revision = ",
            "down_revision = ",
            "'a'",
            "None",
            "(",
            ")",
            ",",
            "\n",
            "class Migration:\n",
            " ",
            "    dependencies = [",
            "('a', 'b')",
            "]",
            "a: Mapped[",
            "Column(",
            "Table('a', ",
        ]
    ),
    max_size=25,
).map("".join)


@given(TEXTS)
def test_any_file_can_be_read(text: str) -> None:
    """No text makes reading a migration or a model fall over."""
    one, two = alembic_revision(text), django_revision("a/migrations/0001.py", text, ["b"])
    assert len(last_ones([each for each in (one, two) if each is not None])) <= 2
    for kind in ("alembic", "django"):
        found = schema(text, kind)
        assert found is None or all(found.values())
