"""All checks, causes before their effects."""

from __future__ import annotations

from ops.observe.health.batches import check_batches, check_stages, check_sweep
from ops.observe.health.broker import check_broker, check_consumer_timeout
from ops.observe.health.check import Check
from ops.observe.health.database import check_database
from ops.observe.health.gpu import check_gpu
from ops.observe.health.models import check_models
from ops.observe.health.queues import check_queues
from ops.observe.health.rules import check_rules
from ops.observe.health.store import check_clock, check_store
from ops.observe.health.volumes import check_models_volume, check_scratch

_STORE = ("S3_ENDPOINT", "S3_BUCKET", "S3_ACCESS_KEY")
_BROKER = ("BROKER_URL",)
_DATABASE = ("DATABASE_URL",)
_READ = "PostgreSQL: dropscribe_read"
_LIST = "store: to list the bucket"

CHECKS = (
    Check(
        "store",
        "the store answers, and the bucket is there",
        _LIST,
        check_store,
        _STORE,
        "on the store's host: systemctl status minio (or ceph -s); S3_ENDPOINT and its keys: "
        "dropscribe bootstrap --dry-run",
    ),
    Check(
        "rules",
        "the bucket's notification and lifecycle rules",
        "store: to read them, as the bucket's owner; else it is unknown",
        check_rules,
        _STORE,
    ),
    Check(
        "clock",
        "this host's clock against the store's",
        "nothing: even an error response has a date",
        check_clock,
        _STORE,
    ),
    Check(
        "broker",
        "the broker answers, with its exchange, queues and bindings",
        "broker: to log in; for the bindings rabbitmqctl",
        check_broker,
        _BROKER,
        "on the broker's host: systemctl status rabbitmq-server",
    ),
    Check(
        "queues",
        "consumers, depth and dead letters of each route",
        f"broker: to log in; {_READ}",
        check_queues,
        _BROKER,
    ),
    Check(
        "consumer-timeout",
        "how long RabbitMQ waits for an acknowledgement",
        f"{_READ}; for RabbitMQ's own value rabbitmqctl",
        check_consumer_timeout,
        _BROKER,
    ),
    Check(
        "database",
        "schema, connections, and the speed of completion",
        _READ,
        check_database,
        _DATABASE,
        "on the database's host: systemctl status postgresql",
    ),
    Check("batches", "batches that are stuck or stalled", _READ, check_batches, _DATABASE),
    Check("stages", "how far each stage is behind", f"{_READ}; {_LIST}", check_stages, _DATABASE),
    Check("sweep", "when the last sweep ended, and what it did", _READ, check_sweep, _DATABASE),
    Check(
        "scratch",
        "free space, and the mount, of SCRATCH_ROOT",
        "nothing",
        check_scratch,
        ("SCRATCH_ROOT",),
    ),
    Check(
        "models-volume",
        "free space, and the mount, of MODELS_ROOT",
        "nothing",
        check_models_volume,
        ("MODELS_ROOT",),
    ),
    Check(
        "models",
        "models are present and intact",
        "to read MODELS_ROOT",
        check_models,
        ("MODELS_ROOT", "WHISPER_MODEL", "POLICIES_ROOT"),
        is_bounded=lambda context: not context.is_full,
    ),
    Check("gpu", "a GPU, if the settings require one", "nothing", check_gpu),
)
