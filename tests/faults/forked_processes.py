"""`crm` whose further processes are forks: they have imported the program, and come a hundred times as quickly.

Everything else is as `multiprocessing` starts them with `spawn`: they are handed what they are to do through a pipe,
have no file open but what was passed to them, and no handler of a signal.
"""

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import spawn, util
from typing import Any, NoReturn

from crm.cli import main

_spawn = util.spawnv_passfds


def _start(path: bytes, args: Sequence[Any], passfds: Sequence[int]) -> int:
    """What `multiprocessing` starts: a server's process, or what looks after semaphores."""
    words = [os.fsdecode(one) for one in args]
    if not any("spawn_main" in one for one in words):
        return _spawn(path, args, passfds)
    pid = os.fork()
    if not pid:
        _become(words, {0, 1, 2, *map(int, passfds)})
    return pid


def _become(arguments: Sequence[str], passed: set[int]) -> NoReturn:
    """Be what a new interpreter would be with these arguments, and end as it ends."""
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        if int(name) not in passed:
            with suppress(OSError):  # the one that listed them
                os.close(int(name))
    sys.argv = ["-c", *arguments[-1:]]
    code: object = 1
    try:
        exec(arguments[-2], {"spawn_main": spawn.spawn_main})
    except SystemExit as ending:
        code = ending.code
    except BaseException:  # noqa: BLE001  (what the interpreter does with it)
        sys.excepthook(*sys.exc_info())
    os._exit(code if isinstance(code, int) else 1)


if __name__ == "__main__":
    util.spawnv_passfds = _start
    main()
