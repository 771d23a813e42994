"""Settings of the C library's allocator, so that it returns memory to the system."""

import ctypes
from typing import Final

# https://man7.org/linux/man-pages/man3/mallopt.3.html
_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
_LARGE: Final = 128 * 1024
_KEPT: Final = 16 * 1024 * 1024


def give_back_large_blocks() -> None:
    """Take blocks for large bodies and answers from the system one by one, so that each is given back when it is free.

    glibc does so only until the first large block is free: from then on it cuts blocks of that size from the heap,
    where a small one that lives on behind them keeps their memory for as long as the process lives.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # another C library
        return
    mallopt(_MMAP_THRESHOLD, _LARGE)
    mallopt(_TRIM_THRESHOLD, _KEPT)
