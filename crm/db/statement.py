"""SQL statements and their parameters, in libpq's format."""

from collections.abc import Callable, Sequence
from datetime import date, datetime
from decimal import Decimal
from enum import Enum, IntEnum
from hashlib import blake2b
from typing import Any, ClassVar, Final
from uuid import UUID

import orjson

# PostgreSQL's memory for a prepared statement with its plan, per byte of its text: 66 to 207 measured.
_WEIGHT: Final = 200
NOBODY: Final = -1

Params = Sequence["bytes | None"]


class Lane(IntEnum):
    """The limit that a connection in use counts against while others wait."""

    QUICK = 0
    SLOW_READS = 1
    SLOW_WRITES = 2


class Statement:
    """SQL text with $1-style parameters; prepared on a connection from its second use on.

    Its name is a hash of its text: behind a pooler that mixes up sessions, another process's statement of the same name
    is the same statement.
    """

    __slots__ = ("name", "slow_for", "text", "uses")
    slow_lane: ClassVar = Lane.SLOW_READS

    def __init__(self, text: str) -> None:
        self.text = text.encode()
        self.name = b"crm_" + blake2b(self.text, digest_size=12).hexdigest().encode()
        self.uses = 0
        self.slow_for = 0  # the viewer whose last run of it took long

    @property
    def weight(self) -> int:
        """About the bytes that the prepared statement takes in PostgreSQL."""
        return len(self.text) * _WEIGHT


class ViewerWrite:
    """A viewer's write, which may be stopped before its commit, and is then run again from the start."""

    __slots__ = ("met_a_lock", "slow_for")
    slow_lane: ClassVar = Lane.SLOW_WRITES

    def __init__(self) -> None:
        self.met_a_lock = False  # whether it waits for others, so that its commit has to go by itself
        self.slow_for = NOBODY  # the viewer, once the write has taken long

    def meet_a_lock(self, owner: int) -> None:
        """Note that the write waits for others: it runs again as one that takes long."""
        self.met_a_lock, self.slow_for = True, owner


Work = Statement | ViewerWrite

BEGIN: Final = Statement("BEGIN")
COMMIT: Final = Statement("COMMIT")
ROLLBACK: Final = Statement("ROLLBACK")
# In its first run a viewer's write waits for a lock for a moment only: so it shows early that it takes long, and no
# statement waits that has its commit in the same round trip, and so cannot be stopped (see `UnitOfWork`).
WAIT_BRIEFLY: Final = Statement("SELECT set_config('lock_timeout', '100ms', true)")


def encode(value: object) -> bytes | None:
    """A Python value in PostgreSQL's text format."""
    if value is None:
        return None
    encoder = _ENCODERS.get(type(value))
    if encoder is not None:
        return encoder(value)
    for python_type, base_encoder in _ENCODERS.items():
        if isinstance(value, python_type):
            return base_encoder(value)
    if isinstance(value, Enum):
        return encode(value.value)
    msg = f"no PostgreSQL text for {type(value).__name__}"
    raise TypeError(msg)


def _array(values: Sequence[object]) -> bytes:
    return b"{" + b",".join(_array_item(value) for value in values) + b"}"


def _array_item(value: object) -> bytes:
    text = encode(value)
    if text is None:
        return b"NULL"
    return b'"' + text.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


_ENCODERS: Final[dict[type, Callable[[Any], bytes]]] = {
    bool: lambda value: b"t" if value else b"f",
    int: lambda value: b"%d" % value,
    str: lambda value: value.encode(),
    Decimal: lambda value: str(value).encode(),
    float: lambda value: repr(value).encode(),
    datetime: lambda value: value.isoformat().encode(),
    date: lambda value: value.isoformat().encode(),
    UUID: lambda value: str(value).encode(),
    bytes: lambda value: value,
    list: _array,
    tuple: _array,
    dict: orjson.dumps,
}
