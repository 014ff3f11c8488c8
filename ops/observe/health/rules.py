"""The bucket's rules for notification and for expiry."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from botocore.exceptions import BotoCoreError, ClientError

from consumers.errors import ConfigurationError, TransientError
from ops.bootstrap.plan import StorePlan
from ops.bootstrap.step import Step
from ops.observe.health.context import CheckContext
from ops.observe.health.result import Level, Remark

#: The codes by which stores deny access.
_FORBIDDEN = {"403", "AccessDenied", "Forbidden", "AuthorizationError", "AuthFailure"}

_REPAIR = "dropscribe bootstrap --dry-run shows the difference, dropscribe bootstrap corrects it"


def check_rules(context: CheckContext) -> Iterator[Remark]:
    """Compare the bucket's rules with those that ``bootstrap`` would make now.

    If these credentials may not read the rules, the result is unknown.
    Ceph shows rules to the bucket's owner alone, whatever its policy grants
    (its source, ``RGWPSListNotifsOp::verify_permission``), so there it is skipped.
    """
    routes = context.routes
    plan = StorePlan.read(context.environment, context.table, routes)
    # Only STORE_BROKER_URL names the user and the password that a topic of Ceph holds.
    rules = plan.rule_steps(compares_topics=plan.options.store_broker is not None)
    hidden = Level.SKIPPED if plan.kind == "ceph" else Level.UNKNOWN
    yield Remark(
        Level.OK, "as bootstrap makes them, for " + ", ".join(route.name for route in routes)
    )
    yield from _remarks("notification rules", rules, hidden)
    yield from _remarks("lifecycle rules", plan.lifecycle_steps(), hidden)


def _remarks(what: str, steps: Iterable[Step], hidden: Level) -> Iterator[Remark]:
    try:
        for step in steps:
            if step.changed:
                yield Remark(Level.CRITICAL, f"{step.what} differs", _REPAIR)
    except ConfigurationError as exc:
        yield Remark(Level.CRITICAL, str(exc), "dropscribe bootstrap --dry-run")
    except ClientError as exc:
        code = str(exc.response.get("Error", {}).get("Code", ""))
        if code not in _FORBIDDEN:
            raise TransientError(f"{what}: the store rejected the request ({code})") from exc
        yield Remark(
            hidden,
            f"these credentials have no permission to read the {what} ({code})",
            "with those of bootstrap: dropscribe health --check rules",
        )
    except BotoCoreError as exc:
        raise TransientError(f"{what}: the store is unreachable ({exc})") from exc
