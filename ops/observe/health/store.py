"""The store: whether it responds, and whether its clock agrees."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from consumers.errors import ClockError, PermanentError, TransientError
from consumers.store import ObjectGoneError
from consumers.store.errors import time_of
from ops.observe.health.context import CheckContext
from ops.observe.health.result import Level, Remark, judged

#: The Date header has whole seconds, so on average it is this late.
_ROUNDING = timedelta(seconds=0.5)

_SET_CLOCK = "on both hosts: timedatectl set-ntp true, then timedatectl status"


def check_store(context: CheckContext) -> Iterator[Remark]:
    """Check that the store responds, accepts these credentials, and has the bucket."""
    store = context.store
    begun = time.monotonic()
    try:
        store.now()
    except ObjectGoneError:
        what = f"there is no bucket {store.bucket}"
        yield Remark(Level.CRITICAL, what, "dropscribe bootstrap")
    except ClockError as exc:
        yield Remark(Level.CRITICAL, str(exc), _SET_CLOCK)
    except PermanentError as exc:
        yield Remark(
            Level.CRITICAL,
            str(exc),
            "S3_ACCESS_KEY and S3_SECRET_KEY have no access to the bucket: grant it by "
            "S3_PRINCIPALS, then: dropscribe bootstrap",
        )
    else:
        seconds = time.monotonic() - begun
        what = f"bucket {store.bucket} responds in {seconds:.2f} s"
        yield Remark(Level.OK, what, figures={"seconds": round(seconds, 3)})


def check_clock(context: CheckContext) -> Iterator[Remark]:
    """Compare this host's clock with the Date of the store's responses, even of errors."""
    before = context.now()
    theirs = _store_time(context)
    ours = before + (context.now() - before) / 2
    offset = (ours - theirs - _ROUNDING).total_seconds()
    level = judged(abs(offset), context.settings.clock)
    figures = {"offset_seconds": round(offset, 1)}
    if level is Level.OK:
        yield Remark(level, f"within {abs(offset):.1f} s of the store's", figures=figures)
        return
    where = "ahead of" if offset > 0 else "behind"
    what = f"this host's clock is {abs(offset):.0f} s {where} the store's"
    yield Remark(level, f"{what}, which refuses requests from 15 minutes on", _SET_CLOCK, figures)


def _store_time(context: CheckContext) -> datetime:
    try:
        return context.store.now()
    except (ClockError, PermanentError, TransientError) as exc:
        answer = _answer_in(exc)
        found = None if answer is None else time_of(answer)
        if found is None:
            raise
        return found


def _answer_in(exc: BaseException | None) -> Mapping[str, Any] | None:
    """Find the store's response among the causes of an error."""
    while exc is not None:
        if isinstance(exc, ClientError):
            answer: Mapping[str, Any] = exc.response
            return answer
        exc = exc.__cause__ or exc.__context__
    return None
