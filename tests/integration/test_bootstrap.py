"""What bootstrap makes on the embedded servers: once, where it is missing, and nobody else's."""

from __future__ import annotations

import json
from typing import Any

import boto3
import pytest

from consumers.errors import ConfigurationError, TransientError
from consumers.store import Store
from ops.bootstrap import bootstrap
from ops.bootstrap.policies import ROLES
from ops.environment import Environment, SettingError
from ops.settings import STORE_ROLES, BootstrapSettings

TAG = {"Key": "dropscribe", "Value": "complete"}


def changes(variables: dict[str, str], **options: Any) -> list[str]:
    return [step.what for step in bootstrap(Environment(variables), **options) if step.changed]


@pytest.fixture
def s3(store: Store) -> Any:
    """botocore's client of the bucket."""
    return store._client


@pytest.fixture
def sqs(variables: dict[str, str]) -> Any:
    return boto3.client(
        "sqs",
        endpoint_url=variables["S3_ENDPOINT"],
        aws_access_key_id=variables["S3_ACCESS_KEY"],
        aws_secret_access_key=variables["S3_SECRET_KEY"],
        region_name="us-east-1",
    )


def test_it_changes_nothing_the_second_time(variables: dict[str, str]) -> None:
    name = variables["S3_BUCKET"]
    first = changes(variables)
    assert [what for what in first if "database" not in what] == [
        f"queue {name}-unpack-dead",
        f"queue {name}-unpack",
        f"policy of queue {name}-unpack",
        f"queue {name}-transcribe-dead",
        f"queue {name}-transcribe",
        f"policy of queue {name}-transcribe",
        f"bucket {name}",
        f"notification rules of bucket {name}",
        f"lifecycle rule {name}-archives of bucket {name}",
        f"lifecycle rule {name}-uploads of bucket {name}",
    ]
    assert changes(variables) == []


def test_a_dry_run_tells_what_would_change_and_changes_nothing(
    variables: dict[str, str], sqs: Any
) -> None:
    foreseen = changes(variables, dry_run=True)
    assert changes(variables, dry_run=True) == foreseen
    assert "QueueUrls" not in sqs.list_queues(QueueNamePrefix=variables["BROKER_PREFIX"])
    assert changes(variables) == foreseen
    assert changes(variables, dry_run=True) == []


def test_what_somebody_altered_is_put_right(
    variables: dict[str, str], environment: Environment, sqs: Any
) -> None:
    name = f"{variables['BROKER_PREFIX']}-unpack"
    url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"MessageRetentionPeriod": "60"})
    assert f"queue {name}" in changes(variables, dry_run=True)
    assert f"queue {name}" in changes(variables)
    assert changes(variables) == []


def test_rules_of_others_stay(variables: dict[str, str], s3: Any) -> None:
    bucket = variables["S3_BUCKET"]
    before = s3.get_bucket_notification_configuration(Bucket=bucket)
    rule = {**before["QueueConfigurations"][0], "Id": "somebody-elses"}
    rule["Filter"] = {"Key": {"FilterRules": [{"Name": "prefix", "Value": "elsewhere/"}]}}
    s3.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [rule]}
    )
    assert changes(variables) == [f"notification rules of bucket {bucket}"]
    after = s3.get_bucket_notification_configuration(Bucket=bucket)
    assert {rule["Id"] for rule in after["QueueConfigurations"]} == {
        "somebody-elses",
        *(rule["Id"] for rule in before["QueueConfigurations"]),
    }


class TestLifecycle:
    def test_only_archives_of_complete_batches_expire(
        self, variables: dict[str, str], s3: Any
    ) -> None:
        name = variables["S3_BUCKET"]
        rules = s3.get_bucket_lifecycle_configuration(Bucket=name)["Rules"]
        archives, uploads = sorted(rules, key=lambda rule: rule["ID"])
        assert archives["Expiration"] == {"Days": 7}
        assert archives["Filter"] == {"And": {"Prefix": "archives/", "Tags": [TAG]}}
        assert uploads["Filter"] == {"Prefix": "archives/"}
        assert uploads["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}

    def test_the_days_are_a_setting_and_rules_of_others_stay(
        self, variables: dict[str, str], s3: Any
    ) -> None:
        name = variables["S3_BUCKET"]
        other = {
            "ID": "logs",
            "Status": "Enabled",
            "Filter": {"Prefix": "logs/"},
            "Expiration": {"Days": 1},
        }
        present = s3.get_bucket_lifecycle_configuration(Bucket=name)["Rules"]
        s3.put_bucket_lifecycle_configuration(
            Bucket=name, LifecycleConfiguration={"Rules": [other, *present]}
        )
        assert changes({**variables, "RETENTION_DAYS": "30"}) == [
            f"lifecycle rule {name}-archives of bucket {name}"
        ]
        rules = self._rules(s3, name)
        assert rules[f"{name}-archives"]["Expiration"] == {"Days": 30}
        assert rules["logs"]["Expiration"] == {"Days": 1}

        assert changes({**variables, "RETENTION_DAYS": "off"})
        assert sorted(self._rules(s3, name)) == sorted(["logs", f"{name}-uploads"])
        assert changes({**variables, "RETENTION_DAYS": "off"}) == []

    def _rules(self, s3: Any, bucket: str) -> dict[str, Any]:
        answer = s3.get_bucket_lifecycle_configuration(Bucket=bucket)
        return {rule["ID"]: rule for rule in answer["Rules"]}


class TestPolicy:
    UNPACK = "arn:aws:iam::123456789012:user/unpack"
    DROP = "arn:aws:iam::123456789012:user/field"

    def test_every_role_that_can_be_named_has_rights(self) -> None:
        assert set(ROLES) == set(STORE_ROLES)

    def test_nobody_is_given_anything_unasked(self, variables: dict[str, str], s3: Any) -> None:
        with pytest.raises(s3.exceptions.ClientError, match="NoSuchBucketPolicy"):
            s3.get_bucket_policy(Bucket=variables["S3_BUCKET"])

    def test_roles_come_and_go_and_statements_of_others_stay(
        self, variables: dict[str, str], s3: Any
    ) -> None:
        name = variables["S3_BUCKET"]
        other = {
            "Sid": "Audit",
            "Effect": "Allow",
            "Principal": {"AWS": "arn:aws:iam::123456789012:user/audit"},
            "Action": "s3:ListBucket",
            "Resource": f"arn:aws:s3:::{name}",
        }
        policy = {"Version": "2012-10-17", "Statement": other}
        s3.put_bucket_policy(Bucket=name, Policy=json.dumps(policy))
        both = {**variables, "S3_PRINCIPALS": f"unpack={self.UNPACK},drop={self.DROP}"}
        what = [f"policy of bucket {name}"]
        assert changes(both, dry_run=True) == changes(both) == what
        assert changes(both) == []
        assert self._who(s3, name) == {"Audit", "Unpack", "Drop"}

        only = {**variables, "S3_PRINCIPALS": f"drop={self.DROP}"}
        assert changes(only) == what
        assert self._who(s3, name) == {"Audit", "Drop"}

    def _who(self, s3: Any, bucket: str) -> set[str]:
        policy = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])
        prefix = bucket.replace("-", "")
        roles = ("Unpack", "Transcribe", "Drop", "Operator")
        sids = [each["Sid"].removeprefix(prefix) for each in policy["Statement"]]
        return {next((role for role in roles if sid.startswith(role)), sid) for sid in sids}


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_bucket_of_another_deployment_is_left_to_it(
    variables: dict[str, str], s3: Any, *, dry_run: bool
) -> None:
    """Both would do all of the work, and one's retention would be the other's."""
    list(bootstrap(Environment(variables)))
    bucket = variables["S3_BUCKET"]
    before = s3.get_bucket_notification_configuration(Bucket=bucket)["QueueConfigurations"]
    theirs = Environment({**variables, "BROKER_PREFIX": f"{bucket}-2"})
    with pytest.raises(ConfigurationError, match=f"{bucket}-transcribe, {bucket}-unpack"):
        list(bootstrap(theirs, dry_run=dry_run))
    after = s3.get_bucket_notification_configuration(Bucket=bucket)["QueueConfigurations"]
    assert after == before


def test_a_queue_service_that_is_away_is_named(variables: dict[str, str]) -> None:
    with pytest.raises(TransientError, match="SQS can't be reached"):
        changes({**variables, "BROKER_URL": "sqs://a:b@127.0.0.1:9"})


@pytest.mark.parametrize(
    ("store", "broker", "message"),
    [
        ("aws", "amqp://127.0.0.1", "AWS S3 announces to SQS, and not over AMQP"),
        ("ceph", "sqs://", "ceph announces over AMQP, and not to SQS"),
        ("minio", "sqs://", "minio announces over AMQP, and not to SQS"),
        ("rustfs", "sqs://", "rustfs announces over AMQP, and not to SQS"),
    ],
)
def test_what_does_not_go_together_is_said(
    variables: dict[str, str], store: Any, broker: str, message: str
) -> None:
    given = {**variables, "BROKER_URL": broker}
    with pytest.raises(ConfigurationError, match=message):
        changes(given, store=store)
    with pytest.raises(ConfigurationError, match=message):
        changes({**given, "STORE_KIND": store})


def test_a_store_that_does_not_say_what_it_is_has_to_be_named(variables: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="can't be told from its answers: say so"):
        changes({**variables, "BROKER_URL": "amqp://127.0.0.1"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("STORE_KIND", "swift"),
        ("RETENTION_DAYS", "0"),
        ("RETENTION_DAYS", "never"),
        ("S3_PRINCIPALS", "root=arn:aws:iam:::user/x"),
        ("S3_PRINCIPALS", "unpack"),
        ("STORE_QUEUE_DIR", "events"),
        ("STORE_BROKER_URL", "sqs://"),
        ("STORE_BROKER_URL", "amqp://guest:hush/hush@127.0.0.1"),
    ],
)
def test_a_setting_that_can_t_be_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingError, match=name) as caught:
        BootstrapSettings.read(Environment({name: value}))
    assert "hush" not in str(caught.value)
