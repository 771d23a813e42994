"""How a client wants its answers: their media type, and the statuses that it knows."""

from functools import lru_cache
from typing import Final, NamedTuple

from crm.graph.run.answers import Answer
from crm.web.http_io import JSON, preferred

_RESPONSE_JSON: Final = b"application/graphql-response+json"
_LEAST_REFUSAL: Final = 300


class Media(NamedTuple):
    """How a client wants its answers."""

    type: bytes
    refusal_type: bytes  # of what is no 2xx
    is_modern: bool  # with the statuses of the published text

    def status(self, answer: Answer) -> int:
        """The status of an answer."""
        return answer.status if self.is_modern else answer.plain_status

    def content_type(self, status: int) -> bytes:
        """The type of an answer with this status."""
        return (self.type if status < _LEAST_REFUSAL else self.refusal_type) + b"; charset=utf-8"


MODERN: Final = Media(_RESPONSE_JSON, _RESPONSE_JSON, is_modern=True)
# Clients that name JSON alone read `errors` of what is no 2xx only from the type that is GraphQL's own; old ones that
# name nothing know no such type.
NAMED: Final = Media(JSON, _RESPONSE_JSON, is_modern=False)
ANY: Final = Media(JSON, JSON, is_modern=False)
# An operation's answers as events; what is refused before there are any is as for those who know the published text.
EVENTS: Final = Media(b"text/event-stream", _RESPONSE_JSON, is_modern=True)
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
