"""Turns untrusted text into plain words."""

import re
import unicodedata
from typing import Final

_MARKUP: Final = re.compile(r"</?[a-zA-Z!][^<>]*>|```\w*|\*\*|__|`")
_LINK: Final = re.compile(r"!?\[([^\[\]]*)\]\([^()]*\)")
_ADDRESS: Final = re.compile(r"\b(?:(?:https?|ftp|javascript|vbscript|data|mailto):|www\.)\S+", re.IGNORECASE)
# A domain alone may be a company's name; with a path it is a link. (`Node.js/React` is not.)
_BARE_ADDRESS: Final = re.compile(
    r"(?<![\w.@-])(?:[\w-]{1,63}\.){1,8}(?!js\b)[^\W\d_]{2,24}(?::\d{1,5}\b\S*|/\S*|[?#]\w\S*)", re.IGNORECASE
)
# The start of a tag that is not closed; browsers close it themselves.
_TAG_START: Final = re.compile(r"<(?=\s*[/!?a-zA-Z])")
# Honest text does not nest markup more deeply than this.
_LAYERS: Final = 8
_BULLET: Final = re.compile(r"^\s*(?:[-*\u2022#>]+|\d{1,2}[.)])\s+")
_TERMINAL: Final = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
# A script with its content; only for short text, where the search for its end is fast.
_SCRIPT: Final = re.compile(r"<(script|style)\b[^<>]*>.*?</\1\s*>", re.IGNORECASE | re.DOTALL)
_LONGEST: Final = 60
# Text is cut to so many times what is kept of it before it is cleaned: a model may write any amount.
_UNCLEANED: Final = 4
_LONGEST_NAME: Final = 1000
_INVISIBLE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def plain(text: str, most: int) -> str:
    """Text on one line, without markup, links and invisible characters."""
    return short(_unmarked(text, most), most)


def plain_lines(text: str, most: int) -> str:
    """The same as `plain`, paragraph by paragraph."""
    paragraphs = (short(paragraph, most) for paragraph in re.split(r"\n\s*\n", _unmarked(text, most)))
    return "\n\n".join(filter(None, paragraphs))[:most].rstrip()


def named(text: str | None) -> str:
    """A typed name made fit for a sentence; empty if nothing of it is left."""
    return plain(_SCRIPT.sub(" ", (text or "")[:_LONGEST_NAME]), _LONGEST)


def short(text: str | None, most: int = _LONGEST) -> str:
    """Text on one line, without invisible characters, cut to the length of a title."""
    visible = "".join(" " if sign.isspace() else sign for sign in text or "" if sign.isspace() or _is_visible(sign))
    whole = " ".join(visible.split())
    return whole if len(whole) <= most else whole[: most - 1].rstrip() + "…"


def _unmarked(text: str, most: int) -> str:
    text = text[: most * _UNCLEANED]
    text = unicodedata.normalize("NFC", _TERMINAL.sub("", text).encode("utf-8", "ignore").decode())
    text = "\n".join(_BULLET.sub("", line) for line in text.splitlines())
    # Removing markup may join two parts of other markup: `<scr<b>ipt>`.
    for _ in range(_LAYERS):
        cleaned = _BARE_ADDRESS.sub("", _ADDRESS.sub("", _LINK.sub(r"\1", _MARKUP.sub("", text))))
        if cleaned == text:
            return _TAG_START.sub("", text)
        text = cleaned
    return ""


def _is_visible(character: str) -> bool:
    return unicodedata.category(character) not in _INVISIBLE
