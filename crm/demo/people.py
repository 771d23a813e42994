"""Makes up the person of a lead from its id.

The name, the company and so the e-mail address follow from the id alone, and no two ids share an address. Since ids
come from the table's own sequence, which never gives one twice, a second load cannot clash with the first, and no state
is kept or looked up.

Sixty-four ids in a row work at twenty companies, some alone, some with seven colleagues. A market that runs out of
company names starts over, and its companies get more people.
"""

import math
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import NamedTuple

from crm.demo.names import MARKET_SHARES, Market, Place

COMPANY_SIZES = (8, 7, 6, 5, 5, 4, 4, 3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 1)
PEOPLE, COMPANIES, LARGEST = sum(COMPANY_SIZES), len(COMPANY_SIZES), max(COMPANY_SIZES)

ASCII = str.maketrans("åäöéáíóúü", "aaoeaiouu", "'")


class Person(NamedTuple):
    """A lead's own facts."""

    first_name: str
    last_name: str
    email: str
    company: str
    trade: str
    place: Place
    market: Market


@dataclass(frozen=True, slots=True)
class _Directory:
    """A market's names, with their spellings in addresses, and the strides that shuffle them."""

    market: Market
    first_names: tuple[tuple[str, str], ...]
    last_names: tuple[tuple[str, str], ...]
    company_words: tuple[tuple[str, str], ...]
    trades: tuple[tuple[str, str, str], ...]
    pairs: int
    pair_stride: int
    companies: int
    company_stride: int


def person_of(lead_id: int) -> Person:
    """The person of this lead."""
    block, seat = divmod(lead_id, PEOPLE)
    company, desk = _SEATING[seat]
    directory, rank, share = _MARKETS[company]
    rounds, number = divmod(block * share + rank, directory.companies)

    word, trade = divmod(number * directory.company_stride % directory.companies, len(directory.trades))
    company_word, word_slug = directory.company_words[word]
    trade_name, trade_slug, tag = directory.trades[trade]

    # Each desk of a company gets another pair of names, as long as there are more pairs than desks.
    pair = (number * 7919 + (rounds * LARGEST + desk) * directory.pair_stride) % directory.pairs
    first, last = divmod(pair, len(directory.last_names))
    first_name, first_slug = directory.first_names[first]
    last_name, last_slug = directory.last_names[last]

    market = directory.market
    return Person(
        first_name,
        last_name,
        f"{first_slug}.{last_slug}@{word_slug}-{trade_slug}.example",
        market.company_form.format(f"{company_word} {trade_name}"),
        tag,
        market.places[(word * 5 + trade * 3) % len(market.places)],
        market,
    )


def slug(name: str) -> str:
    """A name as it is spelt in an e-mail address."""
    return name.lower().translate(ASCII).replace(" ", "-")


@cache
def _directory(market: Market) -> _Directory:
    pairs = len(market.first_names) * len(market.last_names)
    companies = len(market.company_words) * len(market.trades)
    return _Directory(
        market,
        tuple((name, slug(name)) for name in market.first_names),
        tuple((name, slug(name)) for name in market.last_names),
        tuple((word, slug(word)) for word in market.company_words),
        tuple((name, slug(name), tag) for name, tag in market.trades),
        pairs,
        _stride(pairs),
        companies,
        _stride(companies),
    )


def _stride(size: int) -> int:
    """A step that visits each of `size` places once before it comes back, and jumps far (the golden ratio)."""
    step = int(size * 0.618)
    while math.gcd(step, size) != 1:
        step += 1
    return step


def _seating() -> list[tuple[int, int]]:
    """The company and the desk of each of 64 people."""
    seats = [(company, desk) for company, size in enumerate(COMPANY_SIZES) for desk in range(size)]
    Random(64).shuffle(seats)  # noqa: S311  (demo data)
    return seats


def _markets() -> list[tuple[_Directory, int, int]]:
    """For each of 20 companies: its market, its rank among the market's companies, and their number."""
    markets = [(_directory(market), rank, share) for market, share in MARKET_SHARES for rank in range(share)]
    Random(20).shuffle(markets)  # noqa: S311  (demo data)
    return markets


_SEATING = _seating()
_MARKETS = _markets()
