"""Answers of REST."""

from collections.abc import Sequence
from dataclasses import dataclass

from crm.web.http_io import JSON


@dataclass(frozen=True)
class RestAnswer:
    """A status, a body, and the headers that belong to them."""

    status: int
    body: bytes = b""
    media_type: bytes = JSON
    headers: Sequence[tuple[bytes, bytes]] = ()
