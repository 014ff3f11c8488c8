"""Log lines: for people on a terminal, JSON elsewhere."""

from __future__ import annotations

import logging
import sys
from typing import Any, TextIO

import structlog

#: Libraries that tell their users' story at INFO, once per request.
_TALKATIVE = ("botocore", "boto3", "kombu", "urllib3", "s3transfer", "psycopg.pool", "httpx")

#: Without local variables: they hold secrets and what people said.
_TRACEBACKS = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
)


def configure_log(stream: TextIO | None = None) -> Any:
    """Set up structlog, and what libraries log, to ``stream`` (standard error).

    Returns:
        The logger that everything else is handed.
    """
    stream = stream or sys.stderr
    is_terminal = stream.isatty()
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    render: list[Any] = (
        [
            structlog.dev.ConsoleRenderer(
                # Keys are other people's words: shown escaped, they cannot write to a terminal.
                repr_native_str=True,
                exception_formatter=structlog.dev.plain_traceback,
            )
        ]
        if is_terminal
        else [_TRACEBACKS, structlog.processors.JSONRenderer()]
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    structlog.configure(
        processors=[*shared, *render],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    return structlog.get_logger()


def quiet_log() -> Any:
    """Return a logger that writes nothing, for commands that print what they did."""
    silent = structlog.make_filtering_bound_logger(logging.CRITICAL)
    return structlog.wrap_logger(structlog.ReturnLogger(), wrapper_class=silent)
