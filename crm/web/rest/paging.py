"""Pages of a list: the link to the next one."""

from typing import Final
from urllib.parse import parse_qsl, urlencode

from crm.graph.compile.arguments import MAX_OFFSET

# The beginning of a row. Within a text its quotes would be escaped, so only rows are counted.
_ROW: Final = b'{"id"'
_PLACES: Final = frozenset({"limit", "offset"})


def next_page(query: bytes, limit: int, offset: int, rows: bytes) -> str | None:
    """The query string of the page after this one, if this page is full; the next one may be empty."""
    following = offset + limit
    if not 0 < limit <= rows.count(_ROW) or following > MAX_OFFSET:
        return None
    kept = [(name, text) for name, text in parse_qsl(query.decode(), keep_blank_values=True) if name not in _PLACES]
    return urlencode([*kept, ("limit", limit), ("offset", following)])
