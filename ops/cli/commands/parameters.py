"""Types of command line parameters."""

from __future__ import annotations

import re
from datetime import timedelta

import click

from events.keys import AudioId, BatchId, MalformedKeyError

_DURATION = re.compile(r"(\d{1,6}) ?(s|min|m|h|d)", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "min": "minutes", "h": "hours", "d": "days"}


class _BatchType(click.ParamType[BatchId]):
    name = "batch"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> BatchId:
        try:
            return BatchId(str(value))
        except MalformedKeyError as exc:
            self.fail(str(exc), param, ctx)


class _AudioType(click.ParamType[AudioId]):
    name = "audio_id"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> AudioId:
        try:
            return AudioId.parse(str(value))
        except MalformedKeyError as exc:
            self.fail(str(exc), param, ctx)


class _DurationType(click.ParamType[timedelta]):
    name = "duration"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        if isinstance(value, timedelta):
            return value
        match = _DURATION.fullmatch(str(value))
        if match is None:
            self.fail(f"{value!r} is not a duration like 90s, 15min, 6h or 7d", param, ctx)
        return timedelta(**{_UNITS[match[2]]: int(match[1])})


#: A batch id.
BATCH = _BatchType()

#: A recording's id.
AUDIO = _AudioType()

#: A length of time: ``90s``, ``15min``, ``6h``, ``7d``.
DURATION = _DurationType()
