"""Types of command line parameters."""

from __future__ import annotations

import click

from events.keys import BatchId, MalformedKeyError


class _BatchType(click.ParamType[BatchId]):
    name = "batch"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> BatchId:
        try:
            return BatchId(str(value))
        except MalformedKeyError as exc:
            self.fail(str(exc), param, ctx)


#: A batch id.
BATCH = _BatchType()
