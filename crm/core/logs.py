"""Logs: JSON for machines, lines for people. Tracebacks have no local variables, which may hold secrets."""

import logging
import sys
import time
from collections.abc import Hashable
from typing import Final, TextIO, cast

import structlog

from crm.core.settings import Settings
from crm.core.terminal import Output

_PAUSE_SECONDS: Final = 1.0


def configure(config: Settings) -> None:
    """Set up the process's logging."""
    level = getattr(logging, config.log_level.upper(), logging.INFO)
    as_json = config.log_format == "json" or (config.log_format == "auto" and not sys.stderr.isatty())
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if as_json
        else structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    )
    common: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderers: list[structlog.typing.Processor] = [structlog.processors.format_exc_info] if as_json else []
    renderers.append(renderer)
    structlog.configure(
        processors=[*common, *renderers],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", Output(sys.stderr))),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[_of_libraries(common, renderers)])


def _of_libraries(
    common: list[structlog.typing.Processor], renderers: list[structlog.typing.Processor]
) -> logging.Handler:
    """The handler for log lines of libraries (uvicorn, asyncio): in the same format, and few of each kind."""
    handler = logging.StreamHandler(Output(sys.stderr))
    handler.addFilter(FewAlike())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), structlog.stdlib.add_logger_name, *common],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
        )
    )
    return handler


class FewAlike(logging.Filter):
    """Passes one line a second from each place in the code; the next line has the number of lines left out.

    A client can cause log lines as fast as it can send packets.
    """

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[Hashable, tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this line is logged."""
        error_type = record.exc_info[0] if record.exc_info else None
        place = (record.name, record.pathname, record.lineno, error_type)
        logged_at, left_out = self._seen.get(place, (-_PAUSE_SECONDS, 0))
        if time.monotonic() - logged_at < _PAUSE_SECONDS:
            self._seen[place] = (logged_at, left_out + 1)
            return False
        self._seen[place] = (time.monotonic(), 0)
        if left_out:
            record.left_out = left_out
        return True
