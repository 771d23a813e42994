"""The corpus has the form that its reader expects: labels that are defined, quotes that occur, no text twice."""

import json
from collections import Counter
from datetime import date
from pathlib import Path

import pytest

from crm.sales.readings.families import FAMILIES

CORPUS = Path(__file__).parent / "corpus"
WRITERS = sorted({path.name.split(".")[0] for path in CORPUS.glob("*.jsonl")})
TYPES = {"email", "call", "meeting", "note", "message"}
OUTCOMES = {
    "call": {"answered", "no_answer", "voicemail"},
    "meeting": {"planned", "held", "no_show", "cancelled"},
    "email": {"sent", "bounced"},
    "message": {"sent", "bounced"},
}


def lines(writer, kind):
    text = (CORPUS / f"{writer}.{kind}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("writer", WRITERS)
class TestWriter:
    def test_labels_sentences_with_families_that_are_defined(self, writer):
        for row in lines(writer, "sentences"):
            assert set(row) == {"text", "lang", "by", "families", "near"}, row
            assert (row["lang"] in {"sv", "en", "mixed"}, row["by"] in {"them", "us"}) == (True, True), row
            assert {*row["families"], *row["near"]} <= set(FAMILIES), row
            assert not set(row["families"]) & set(row["near"]), row

    def test_quotes_what_stands_in_an_entry(self, writer):
        for row in lines(writer, "entries"):
            whole = f"{row['subject'] or ''}\n{row['notes']}"
            assert row["type"] in TYPES, row
            assert row["direction"] in {"inbound", "outbound", "none"}, row
            assert row["outcome"] is None or row["outcome"] in OUTCOMES.get(row["type"], ()), row
            assert {one["family"] for one in row["families"]} <= set(FAMILIES), row
            assert all(one["quote"] in whole for one in row["families"]), row
            assert all(one["text"] in whole for one in [*row["dates"], *row["amounts"]]), row
            assert all(date.fromisoformat(one["from"]) <= date.fromisoformat(one["to"]) for one in row["dates"]), row


def test_no_text_stands_twice():
    texts = Counter(row["text"] for writer in WRITERS for row in lines(writer, "sentences"))
    texts.update(row["notes"] for writer in WRITERS for row in lines(writer, "entries"))
    assert [text for text, count in texts.items() if count > 1] == []


def test_each_family_has_examples_and_near_misses_of_its_own():
    for name, family in FAMILIES.items():
        assert len({*family.examples, *family.counter_examples}) == 5, name
