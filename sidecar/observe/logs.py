"""Event lines by structlog: what happens seldom enough to be worth its comfort."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal, Protocol, TextIO

from sidecar.lean import without

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["EventLog", "build_event_log"]

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class EventLog(Protocol):
    """What is used of a structlog logger."""

    def debug(self, event: str, **fields: object) -> object:
        """Log a detail."""

    def info(self, event: str, **fields: object) -> object:
        """Log something that happened."""

    def warning(self, event: str, **fields: object) -> object:
        """Log what an operator should look at."""

    def error(self, event: str, **fields: object) -> object:
        """Log what does not work."""

    def exception(self, event: str, **fields: object) -> object:
        """Log the exception under way."""


def build_event_log(
    stream: TextIO,
    clock: Callable[[], float],
    *,
    style: Literal["json", "console"] = "json",
    level: str = "info",
) -> EventLog:
    """Return a logger that writes to `stream`, with times from `clock`.

    A traceback shows code and exception but no local variables: those may hold secrets (S27).
    """
    with without("greenlet", "rich"):
        import structlog

    def stamp(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        event["time"] = _iso(clock())
        return event

    processors: list[structlog.typing.Processor] = [structlog.processors.add_log_level, stamp]
    if style == "json":
        processors += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:
        processors.append(
            structlog.dev.ConsoleRenderer(
                colors=stream.isatty(),
                timestamp_key="time",
                exception_formatter=structlog.dev.plain_traceback,
            )
        )
    logger: EventLog = structlog.wrap_logger(
        structlog.WriteLogger(stream),
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
    )
    return logger


def _iso(seconds: float) -> str:
    whole = int(seconds)
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
    return f"{stamp}.{int((seconds - whole) * 1000):03d}Z"
