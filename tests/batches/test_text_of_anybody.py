"""Properties: no text of anybody becomes markup, in HTML or in Markdown."""

from __future__ import annotations

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from orchestrator.batches.markdown import said
from orchestrator.batches.markup import tag, theirs
from orchestrator.prompts import cleaned
from tests.batches.nights_of import HOSTILE

PIECES = st.one_of(
    st.sampled_from(HOSTILE),
    st.sampled_from([
        "<", ">", "&", "&lt;", "&#60;", '"', "'", "`", "``", "*", "_", "__", "[a](b)", "![", "](",
        "|", "\\", "\\|", "~~", "#", "# ", "- ", "+ ", "1. ", "1) ", "> ", "---", "===", "\n", "\n\n",
        "    ", "\t", "http://x.y", "https://x.y/z", "www.x.y", "a@b.c", "@ada", "<!--", "-->", "<b>",
        "</b>", "<a href=x>", "$x$", ":smile:", "x", " ", "\u2028", "\u202e", "\x1b[31m", "[^1]", "[x]",
    ]),
    st.text(max_size=6),
)  # fmt: skip
TEXTS = st.lists(PIECES, max_size=8).map("".join)
READER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


class Seen(HTMLParser):
    """Elements and text of a piece of HTML."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.attributes: list[str] = []
        self.text = ""
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += [name for name, _ in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


@given(TEXTS)
def test_text_in_html_is_text(text: str) -> None:
    """What is put into an element or an attribute comes out as the text it was."""
    seen = Seen(tag("p", tag("i", text), title=text).markup)
    assert seen.elements == ["p", "i"]
    assert seen.attributes == ["title"]
    assert seen.text == cleaned(text)
    assert Seen(theirs(text).markup).elements == ["bdi"]


@given(TEXTS)
def test_text_in_markdown_is_text(text: str) -> None:
    """In a list, a heading and a cell it is one line of text, and nothing of it has a meaning."""
    spelled = said(text)
    assert "\n" not in spelled
    tokens = READER.parse(
        f"- {spelled}\n\n### {spelled}\n\n| a | b |\n|---|---|\n| {spelled} | x |\n"
    )
    kinds = [token.type for token in tokens]
    assert kinds.count("list_item_open") == kinds.count("bullet_list_open") == 1
    assert kinds.count("heading_open") == 1
    assert kinds.count("td_open") == 2
    assert not {
        "blockquote_open",
        "ordered_list_open",
        "hr",
        "fence",
        "code_block",
        "html_block",
    } & {*kinds}
    inner = {child.type for token in tokens for child in token.children or ()}
    assert inner <= {"text", "text_special"}
    assert "://" not in spelled and "www." not in spelled.lower()
