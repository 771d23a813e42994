"""Pages of a list: where the next one is."""

from typing import Final
from urllib.parse import parse_qsl, urlencode

from crm.graph.compile.arguments import MAX_OFFSET

# How a row begins. Within a text its quotes would have backslashes before them: this counts rows and nothing else.
_ROW: Final = b'{"id"'
_PLACES: Final = frozenset({"limit", "offset"})


def next_page(query: bytes, limit: int, offset: int, rows: bytes) -> str | None:
    """The query string of the page after this one, if it is full: whether that holds anything, nobody has looked."""
    following = offset + limit
    if not 0 < limit <= rows.count(_ROW) or following > MAX_OFFSET:
        return None
    kept = [(name, text) for name, text in parse_qsl(query.decode(), keep_blank_values=True) if name not in _PLACES]
    return urlencode([*kept, ("limit", limit), ("offset", following)])
