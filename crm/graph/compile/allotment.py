"""Allotments: the rows and bytes that each list of an operation may gather before its statement has to count them.

Most operations cannot exceed their budget: the product of their limits is below it. For the others each list gets an
allotment, so large that all of them together stay within the budget, and usual data within the allotments. Such a
statement costs nothing beyond a comparison per list. Only when a list turns out longer is the operation run again by a
statement that counts (crm.graph.compile.counting).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from crm.graph.compile.prices import limit_names, limit_of
from crm.graph.compile.selection import Selected
from crm.graph.declare.fields import MAX_ROWS

_MAX_KEPT: Final = 64
# The largest allotment is the usual number of rows times two to this power.
_LARGEST_STEP: Final = 6
# With a smaller share of bytes, counting at once is cheaper than running a statement again.
_LEAST_BYTES: Final = 1024
# A text no longer than this needs no measuring: a list has a thousand rows at most.
LONG_ROW: Final = 8192
# The rows of a report, like totals day by day.
_LONGEST_REPORT: Final = 5 * MAX_ROWS
_KEY_BYTES: Final = 6  # quotes, colon, comma and the like


@dataclass(frozen=True, slots=True)
class AnswerBudget:
    """The most rows and bytes that one operation may return."""

    rows: int
    bytes: int

    def divided(self, parts: int) -> "AnswerBudget":
        """The budget of one of `parts` equal parts."""
        return AnswerBudget(self.rows // parts, self.bytes // parts)


@dataclass(frozen=True, slots=True)
class ListShare:
    """The rows and bytes that one list may gather; None where the list cannot exceed its share."""

    rows: int | None = None
    bytes: int | None = None


@dataclass(frozen=True, eq=False)
class Allotment:
    """The shares of an operation's lists; where it is None instead, the statement has to count."""

    shares: Mapping[Selected, ListShare]


class Allotments:
    """The allotments of some fields, for any limits that come in variables.

    `times` is the number of records that the fields are read for. `guess` is off where a statement cannot be run a
    second time: then only statements that cannot exceed the budget go uncounted.
    """

    def __init__(self, fields: Sequence[Selected], budget: AnswerBudget, *, times: int = 1, guess: bool = True) -> None:
        self._fields = fields
        self.budget = budget
        self._times = times
        self._guess = guess
        self._lists = [field for root in fields for field in root.walk() if is_list(field)]
        self._names = sorted({name for field in self._lists for name in limit_names(field)})
        self._kept: dict[tuple[Any, ...], Allotment | None] = {}
        self._known: dict[tuple[ListShare, ...], Allotment] = {}

    def of(self, variables: Mapping[str, Any]) -> Allotment | None:
        """The allotment for these variables: the same object for the same shares."""
        key = tuple([_size(variables.get(name)) for name in self._names]) if self._names else ()
        try:
            return self._kept[key]
        except KeyError:
            if len(self._kept) >= _MAX_KEPT:
                self._kept.clear()
            allotment = self._kept[key] = self._shared(variables)
            return allotment

    def _shared(self, variables: Mapping[str, Any]) -> Allotment | None:
        limits = {field: limit_of(field, variables) for field in self._lists}
        for step in (None, *range(_LARGEST_STEP, -1, -1)) if self._guess else (None,):
            lengths = _Lengths(limits, step)
            if self._times * sum(map(lengths.rows, self._fields)) <= self.budget.rows:
                shares = _Shares(lengths, self.budget.bytes, guess=self._guess)
                if not shares.divide(self._fields, self.budget.bytes // self._times):
                    return None
                divided = tuple(shares.by_list[field] for field in self._lists)
                return self._known.setdefault(divided, Allotment(shares.by_list))
        return None


class _Lengths:
    """The length of each list: its limit, or its usual rows times two to the power `step`, or the longest possible."""

    def __init__(self, limits: Mapping[Selected, int | None], step: int | None) -> None:
        self._limits = limits
        self._step = step

    def of(self, field: Selected) -> int:
        """The most rows of a list."""
        limit = self._limits[field]
        if limit is not None:
            return min(limit, MAX_ROWS)
        most = longest(field)
        return most if self._step is None else min(most, _usual(field) << self._step)

    def usual(self, field: Selected) -> int:
        """The number of rows that a list usually has."""
        limit = self._limits[field]
        return _usual(field) if limit is None else min(limit, _usual(field))

    def is_cut(self, field: Selected) -> bool:
        """Whether the list may be longer than `of` says."""
        return self._limits[field] is None and self.of(field) < longest(field)

    def rows(self, field: Selected) -> int:
        """The most rows of a field and all fields below it."""
        if is_one_of(field):
            return max(map(self.rows, field.children), default=0)
        below = sum(map(self.rows, field.children))
        if is_list(field):
            return self.of(field) * (1 + below)
        return int(is_record(field)) + below


class _Shares:
    """Divides bytes among lists, and each list's share among the lists within it."""

    def __init__(self, lengths: _Lengths, most: int, *, guess: bool) -> None:
        self.by_list: dict[Selected, ListShare] = {}
        self._lengths = lengths
        self._most = most
        self._guess = guess

    def divide(self, fields: Sequence[Selected], available: int) -> bool:
        """Divide the available bytes among the lists of one row; False if they are too few."""
        lists = [inner_list for field in fields for inner_list in _outermost(field)]
        if not lists:
            return True
        share = (available - sum(map(_bytes, fields))) // len(lists)
        return share >= _LEAST_BYTES and all(self._share(inner_list, share) for inner_list in lists)

    def _share(self, field: Selected, available: int) -> bool:
        row, length = sum(map(_bytes, field.children)) + 1, self._lengths.of(field)
        # The rows are gathered before they can be measured, so they have to fit as well.
        fitting = min(length, self._most // row)
        if fitting < self._lengths.usual(field) or (fitting < length and not (self._guess and field_is_plain(field))):
            return False
        inner = [inner_list for child in field.children for inner_list in _outermost(child)]
        if inner and not self.divide(field.children, available // max(fitting, 1)):
            return False
        is_cut = self._lengths.is_cut(field) or fitting < length
        measured = not inner and fitting * row > available
        if measured and not (self._guess and field_is_plain(field)):
            return False
        # A power of two, so that a few shares serve for all limits.
        self.by_list[field] = ListShare(fitting if is_cut else None, _power(available) if measured else None)
        return True


def is_list(field: Selected) -> bool:
    """Whether a field leads to many rows."""
    return field.shape is not None and field.shape.kind in ("many", "each", "connection")


def longest(field: Selected) -> int:
    """The most rows of a list without a limit; a field without that argument is a report, and may be longer."""
    assert field.shape is not None
    return MAX_ROWS if "limit" in field.shape.arguments or field.shape.each else _LONGEST_REPORT


def is_one_of(field: Selected) -> bool:
    """Whether a field leads to one row of one of several types, each of which is a child."""
    return field.shape is not None and field.shape.kind == "any"


def is_record(field: Selected) -> bool:
    """Whether a field leads to one row."""
    return field.shape is not None and field.shape.kind in ("one", "pulse", "stream")


def long_texts(field: Selected, budget: AnswerBudget) -> Sequence[Selected] | None:
    """The texts of a list's rows that have to be measured; None if whole rows have to be.

    Without these texts and the lists within it, the list fits the budget however many rows it has.
    """
    texts = [
        child
        for child in field.children
        if child.shape is not None and child.shape.is_text and _bytes(child) > LONG_ROW
    ]
    rest = sum(_bytes(child) for child in field.children if child not in texts) + LONG_ROW + 1
    return texts if MAX_ROWS * rest <= budget.bytes else None


def field_is_plain(field: Selected) -> bool:
    """Whether a list can be cut and measured: a connection's page cannot, since it has more members than its rows."""
    return field.shape is not None and field.shape.kind == "many"


def _outermost(field: Selected) -> Iterator[Selected]:
    """The lists of a row at or below a field, without the lists within them."""
    if is_list(field):
        yield field
    else:
        for child in field.children:
            yield from _outermost(child)


def _usual(field: Selected) -> int:
    assert field.shape is not None
    assert field.shape.declaration is not None
    return field.shape.declaration.usual_rows


def _bytes(field: Selected) -> int:
    """The most bytes of a row's field, with its key, without the lists in it."""
    own = len(field.key) + _KEY_BYTES
    if is_list(field):
        return own
    if is_one_of(field):
        return max(map(_bytes, field.children), default=own)
    if field.children:
        repeated = _MANY_MEMBERS if field.shape is not None and field.shape.many else 1
        return own + repeated * sum(map(_bytes, field.children))
    return own + (field.shape.most_bytes if field.shape is not None else len(field.key))


_MANY_MEMBERS: Final = 10  # of a document: a list of objects in one column


def _size(value: Any) -> Any:
    """What a variable says of a list's length: keys by their number, others by themselves."""
    return len(value) if isinstance(value, list) else value


def _power(number: int) -> int:
    return 1 << (number.bit_length() - 1)
