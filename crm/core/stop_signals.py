"""The signals that ask a process to stop."""

import signal


def stop_signals() -> tuple[signal.Signals, ...]:
    """SIGTERM, ctrl-C and the end of a terminal, unless whoever started the process ignores that (`nohup`)."""
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return signal.SIGTERM, signal.SIGINT
    return signal.SIGTERM, signal.SIGINT, signal.SIGHUP
