"""How the hub logs: static event names, fields for data, one line each; for people on a terminal, JSON otherwise."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog

from hub.core.settings import Settings

LONGEST_CHARACTERS = 200
# Field names whose values never reach a log, whoever binds them.
SECRET_FIELDS = frozenset({"secret", "token", "cookie", "password", "authorization", "ticket", "code", "passphrase"})


def configure(settings: Settings) -> None:
    """Set the level and the form; the first call in a process decides."""
    level = logging.DEBUG if settings.debug else getattr(logging, settings.log_level.upper())
    is_terminal = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            mask,
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer() if is_terminal else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


def mask(logger: Any, method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Hide secrets by their field's name and bound what people typed."""
    for name, value in event.items():
        if name in SECRET_FIELDS:
            event[name] = "***"
        elif isinstance(value, str) and name not in {"exception", "event"} and len(value) > LONGEST_CHARACTERS:
            event[name] = value[:LONGEST_CHARACTERS] + "…"
    return event
