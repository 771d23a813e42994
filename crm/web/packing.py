"""Smaller answers: gzip for clients that ask for it, and entity tags, so that what a client has is not sent again."""

import zlib
from collections.abc import Hashable
from functools import lru_cache
from hashlib import blake2b
from typing import Final

from crm.core.side_thread import SideThread

# Less fits into two packets anyhow, and packing has a price for any size, 0.1 ms.
LEAST_PACKED: Final = 2048
# Packed in 0.2 ms; a hundred of these at once are 20 ms.
_SMALL: Final = 16 * 1024
# Packed in 2 ms, which may block the event loop, one at a time.
_MOST_ON_LOOP: Final = 256 * 1024
# Of a list of leads, level 1 leaves 1/4.5 and level 6 1/6, for three times the computing.
_LEVEL: Final = 1
_GZIP: Final = 31  # zlib's way to say: with gzip's head, and the largest window
_TAG_BYTES: Final = 12
_LONGEST_LIST: Final = 1000


async def packed(body: bytes, side: SideThread, owner: Hashable) -> bytes:
    """The body by gzip; larger ones take turns, the largest in the side thread."""
    if len(body) <= _SMALL:
        return _packed(body)
    run = side.run_short if len(body) <= _MOST_ON_LOOP else side.run
    return await run(owner, _packed, body)


async def tag_of(body: bytes, side: SideThread, owner: Hashable) -> bytes:
    """The entity tag of a body: weak, since it is the same however the body is packed."""
    if len(body) <= _MOST_ON_LOOP:
        return _tag(body)
    return await side.run(owner, _tag, body)


def _packed(body: bytes) -> bytes:
    return zlib.compress(body, _LEVEL, _GZIP)


def _tag(body: bytes) -> bytes:
    return b'W/"%s"' % blake2b(body, digest_size=_TAG_BYTES).hexdigest().encode()


@lru_cache(maxsize=256)
def takes_gzip(accept_encoding: bytes) -> bool:
    """Whether a client names gzip among the codings that it takes."""
    for coding in accept_encoding[:_LONGEST_LIST].lower().split(b","):
        name, _, weight = coding.partition(b";")
        if name.strip() == b"gzip":
            return weight.strip().rstrip(b"0.") != b"q="
    return False


def matches(if_none_match: bytes, tag: bytes) -> bool:
    """Whether one of the tags that a client has is this one, weak or not."""
    if if_none_match.strip() == b"*":
        return True
    opaque = tag.removeprefix(b"W/")
    given = (one.strip().removeprefix(b"W/") for one in if_none_match[:_LONGEST_LIST].split(b","))
    return any(one == opaque for one in given)
