"""The bucket's rules for notification and for expiry."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from consumers.broker.address import BrokerAddress
from consumers.broker.sqs_queues import SqsQueues
from consumers.errors import ConfigurationError, TransientError
from events.routes import Route, queue_name, rule_id
from ops.bootstrap.bucket import Bucket, put_lifecycle
from ops.bootstrap.ceph import make_announcements, topic_attributes
from ops.bootstrap.minio import target_arns
from ops.bootstrap.rules import comparable, make_rule, put_queue_rules, rule_ids
from ops.bootstrap.sqs import queue_arn
from ops.bootstrap.step import Step, found
from ops.bootstrap.store_kind import choose_store_kind
from ops.bootstrap.stores import make_store_client
from ops.observe.health.context import CheckContext
from ops.observe.health.result import CheckResult, Level, Remark, combined
from ops.wiring.settings import BootstrapSettings, StoreKind, StoreSettings

#: The codes by which stores deny access.
_FORBIDDEN = {"403", "AccessDenied", "Forbidden", "AuthorizationError", "AuthFailure"}

_REPAIR = "dropscribe bootstrap --dry-run shows the difference, dropscribe bootstrap corrects it"


def check_rules(context: CheckContext) -> CheckResult:
    """Compare the bucket's rules with those that ``bootstrap`` would make now.

    If these credentials may not read the rules, the result is unknown.
    Ceph shows rules to the bucket's owner alone, whatever its policy grants
    (its source, ``RGWPSListNotifsOp::verify_permission``), so there it is skipped.
    """
    settings = StoreSettings.read(context.environment)
    options = BootstrapSettings.read(context.environment)
    address, routes = context.broker, context.routes
    off = tuple(route for route in context.table.routes if route not in routes)
    kind = choose_store_kind(options.store_kind, settings, address)
    bucket = Bucket(make_store_client("s3", settings), settings.bucket, settings.region)

    def announcements() -> Iterator[Step]:
        if kind == "ceph":
            return _topics(bucket, settings, options, address, routes, off)
        return _queues(kind, bucket, address, routes, off)

    def lifecycle() -> Iterator[Step]:
        return put_lifecycle(
            bucket,
            address.prefix,
            options.retention_days,
            aborts_uploads=kind != "minio",
            dry_run=True,
        )

    hidden = Level.SKIPPED if kind == "ceph" else Level.UNKNOWN
    remarks = [
        *_remarks("notification rules", announcements, hidden),
        *_remarks("lifecycle rules", lifecycle, hidden),
    ]
    names = ", ".join(route.name for route in routes)
    return combined("rules", remarks, f"as bootstrap makes them, for {names}")


def _remarks(what: str, steps: Callable[[], Iterator[Step]], hidden: Level) -> Iterator[Remark]:
    try:
        for step in steps():
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


def _queues(
    kind: StoreKind,
    bucket: Bucket,
    address: BrokerAddress,
    routes: tuple[Route, ...],
    off: tuple[Route, ...],
) -> Iterator[Step]:
    """Compare rules that name a queue of SQS, or a target of MinIO or RustFS."""
    prefix = address.prefix
    if kind == "aws":
        with closing(SqsQueues(address)) as queues:
            arns = {
                route.name: queue_arn(queues.client, queue_name(prefix, route)) for route in routes
            }
    else:
        arns = target_arns(kind, prefix, routes)
    yield put_queue_rules(bucket, prefix, arns, (*routes, *off), dry_run=True)


def _topics(
    bucket: Bucket,
    settings: StoreSettings,
    options: BootstrapSettings,
    address: BrokerAddress,
    routes: tuple[Route, ...],
    off: tuple[Route, ...],
) -> Iterator[Step]:
    """Compare rules that name a topic of Ceph.

    A topic holds the store's user and password at the broker, so its attributes are
    compared only if STORE_BROKER_URL is set.
    """
    sns, prefix = make_store_client("sns", settings), address.prefix
    if options.store_broker is not None:
        attributes = topic_attributes(options.store_broker, prefix, options.ceph_ack_level)
        yield from make_announcements(bucket, sns, prefix, routes, attributes, off, dry_run=True)
        return
    arns = _topic_arns(sns)
    for route in routes:
        name = rule_id(prefix, route)
        yield Step(f"topic {name}", changed=name not in arns)
    answer = found(bucket.client.get_bucket_notification_configuration, Bucket=bucket.name)
    present = (answer or {}).get("TopicConfigurations", [])
    ids = rule_ids(prefix, (*routes, *off))
    ours = [rule for rule in present if rule["Id"] in ids]
    wanted = [
        make_rule(prefix, route, {"TopicArn": arns.get(rule_id(prefix, route), "")})
        for route in routes
    ]
    changed = comparable(ours) != comparable(wanted)
    yield Step(f"notification rules of bucket {bucket.name}", changed)


def _topic_arns(sns: Any) -> dict[str, str]:
    """Return the ARNs of all topics, by name."""
    pages = sns.get_paginator("list_topics").paginate()
    arns: list[str] = [topic["TopicArn"] for page in pages for topic in page.get("Topics", [])]
    return {arn.rpartition(":")[2]: arn for arn in arns}
