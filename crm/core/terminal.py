"""The terminal that a process was started from: it may be closed while the process runs."""

import errno
import os
import termios
from typing import Any, Final, TextIO

_STANDARD: Final = (0, 1, 2)


class Output:
    """A standard stream that is not in the way when its terminal is closed: a line of the log must fail no request."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write, or lose the text with the terminal."""
        try:
            return self._stream.write(text)
        except OSError:
            if not leave_if_closed():
                raise
            return len(text)

    def flush(self) -> None:
        """Flush, or lose the text with the terminal."""
        try:
            self._stream.flush()
        except OSError:
            if not leave_if_closed():
                raise


class _Left:
    """Whether this process has left its terminal."""

    value = False


def leave_if_closed() -> bool:
    """Read from and write to nowhere from now on if the terminal was closed; whether it was."""
    closed = [number for number in _STANDARD if _is_closed_terminal(number)]
    if closed:
        nowhere = os.open(os.devnull, os.O_RDWR)
        for number in closed:
            os.dup2(nowhere, number)
        os.close(nowhere)
        _Left.value = True
    return _Left.value


def _is_closed_terminal(number: int) -> bool:
    try:
        termios.tcgetattr(number)
    except termios.error as error:
        return bool(error.args[0] == errno.EIO)  # ENOTTY if it is a file or a pipe
    return False
