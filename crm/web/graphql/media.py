"""How a client wants its answers: their media type, and the statuses that it knows."""

from functools import lru_cache
from typing import Final, NamedTuple

from crm.web.http_io import JSON, preferred

_RESPONSE_JSON: Final = b"application/graphql-response+json"
_UTF8: Final = b"; charset=utf-8"
LEAST_REFUSAL: Final = 300


class Media(NamedTuple):
    """How a client wants its answers."""

    type: bytes
    refusal_type: bytes  # of what is no 2xx
    is_modern: bool  # with the statuses of the published text


MODERN: Final = Media(_RESPONSE_JSON + _UTF8, _RESPONSE_JSON + _UTF8, is_modern=True)
# Clients that name JSON alone read `errors` of what is no 2xx only from the type that is GraphQL's own; old ones that
# name nothing know no such type.
NAMED: Final = Media(JSON + _UTF8, _RESPONSE_JSON + _UTF8, is_modern=False)
ANY: Final = Media(JSON + _UTF8, JSON + _UTF8, is_modern=False)
# An operation's answers as events; what is refused before there are any is as for those who know the published text.
EVENTS: Final = Media(b"text/event-stream" + _UTF8, _RESPONSE_JSON + _UTF8, is_modern=True)
_ACCEPTED: Final = {
    b"text/event-stream": EVENTS,
    JSON: NAMED,
    _RESPONSE_JSON: MODERN,
    b"application/*": ANY,
    b"*/*": ANY,
}


@lru_cache(maxsize=256)
def negotiated(accept: bytes) -> Media | None:
    """How to answer; None if the client accepts neither type."""
    return preferred(accept, _ACCEPTED)
