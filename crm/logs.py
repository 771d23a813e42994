"""Logs: JSON for machines, lines for people. Never a secret: tracebacks go without local variables."""

import logging
import sys

import structlog

from crm.settings import Settings


def configure(config: Settings) -> None:
    """Set up the process's logging."""
    level = getattr(logging, config.log_level.upper(), logging.INFO)
    as_json = config.log_format == "json" or (config.log_format == "auto" and not sys.stderr.isatty())
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if as_json
        else structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    )
    processors: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if as_json:
        processors.append(structlog.processors.format_exc_info)
    structlog.configure(
        processors=[*processors, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    plain = "%(levelname)s %(name)s %(message)s"
    logging.basicConfig(level=max(level, logging.WARNING), stream=sys.stderr, format=plain)
