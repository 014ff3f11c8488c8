"""What bootstrap makes on the embedded servers: once, where it is missing, and nobody else's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest

from consumers.errors import ConfigurationError, TransientError
from consumers.store import Store
from events.keys import AudioId, BatchId
from events.notification import encode
from ops.bootstrap import bootstrap
from ops.bootstrap.bucket_rights import bucket_roles
from ops.wiring.environment import Environment, SettingError
from ops.wiring.pipeline import PIPELINE
from ops.wiring.settings import STORE_ROLES, BootstrapSettings, StoreSettings
from tests.harness.servers.store import boto_client
from tests.integration.conftest import Run

TAG = {"Key": "dropscribe", "Value": "complete"}


def changes(variables: dict[str, str], **options: Any) -> list[str]:
    return [step.what for step in bootstrap(Environment(variables), **options) if step.changed]


@pytest.fixture
def s3(store: Store) -> Any:
    """botocore's client of the bucket."""
    return store._client


@pytest.fixture
def sqs(variables: dict[str, str]) -> Any:
    return boto_client("sqs", StoreSettings.read(Environment(variables)))


def test_a_second_bootstrap_changes_nothing(variables: dict[str, str]) -> None:
    name = variables["S3_BUCKET"]
    first = changes(variables)
    assert [what for what in first if "database" not in what] == [
        f"queue {name}-unpack-dead",
        f"queue {name}-unpack",
        f"policy of queue {name}-unpack",
        f"queue {name}-transcribe-dead",
        f"queue {name}-transcribe",
        f"policy of queue {name}-transcribe",
        f"queue {name}-review-dead",
        f"queue {name}-review",
        f"policy of queue {name}-review",
        f"queue {name}-ra",
        f"bucket {name}",
        f"notification rules of bucket {name}",
        f"lifecycle rule {name}-archives of bucket {name}",
        f"lifecycle rule {name}-uploads of bucket {name}",
    ]
    assert changes(variables) == []


def test_a_dry_run_lists_changes_and_makes_none(variables: dict[str, str], sqs: Any) -> None:
    foreseen = changes(variables, dry_run=True)
    assert changes(variables, dry_run=True) == foreseen
    assert "QueueUrls" not in sqs.list_queues(QueueNamePrefix=variables["BROKER_PREFIX"])
    assert changes(variables) == foreseen
    assert changes(variables, dry_run=True) == []


def test_bootstrap_repairs_altered_settings(
    variables: dict[str, str], environment: Environment, sqs: Any
) -> None:
    name = f"{variables['BROKER_PREFIX']}-unpack"
    url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"MessageRetentionPeriod": "60"})
    assert f"queue {name}" in changes(variables, dry_run=True)
    assert f"queue {name}" in changes(variables)
    assert changes(variables) == []


def test_restored_objects_are_announced_like_created_ones(
    variables: dict[str, str], s3: Any
) -> None:
    rules = s3.get_bucket_notification_configuration(Bucket=variables["S3_BUCKET"])
    assert [sorted(rule["Events"]) for rule in rules["QueueConfigurations"]] == [
        ["s3:ObjectCreated:*", "s3:ObjectRestore:Completed"]
    ] * len(rules["QueueConfigurations"])


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

    def test_archives_with_losses_expire_only_by_a_setting_of_their_own(
        self, variables: dict[str, str], s3: Any
    ) -> None:
        name = variables["S3_BUCKET"]
        longer = {**variables, "RETENTION_DAYS_WITH_LOSSES": "365"}
        step = f"lifecycle rule {name}-archives-with-losses of bucket {name}"
        assert changes(longer) == [step]
        rule = self._rules(s3, name)[f"{name}-archives-with-losses"]
        assert rule["Expiration"] == {"Days": 365}
        tag = {"Key": TAG["Key"], "Value": "kept"}
        assert rule["Filter"] == {"And": {"Prefix": "archives/", "Tags": [tag]}}
        assert changes(longer) == []
        assert changes(variables) == [step]
        assert f"{name}-archives-with-losses" not in self._rules(s3, name)

    def _rules(self, s3: Any, bucket: str) -> dict[str, Any]:
        answer = s3.get_bucket_lifecycle_configuration(Bucket=bucket)
        return {rule["ID"]: rule for rule in answer["Rules"]}


class TestPolicy:
    UNPACK = "arn:aws:iam::123456789012:user/unpack"
    DROP = "arn:aws:iam::123456789012:user/field"

    def test_every_role_that_can_be_named_has_rights(self) -> None:
        assert set(bucket_roles(PIPELINE)) == set(STORE_ROLES)

    def test_no_principal_has_rights_by_default(self, variables: dict[str, str], s3: Any) -> None:
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
        roles = ("Unpack", "Drop")
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
    theirs_are = f"{bucket}-review, {bucket}-transcribe, {bucket}-unpack"
    with pytest.raises(ConfigurationError, match=theirs_are):
        list(bootstrap(theirs, dry_run=dry_run))
    after = s3.get_bucket_notification_configuration(Bucket=bucket)["QueueConfigurations"]
    assert after == before


class TestModeration:
    """With policies there is a stage more, and without them there is not, however often."""

    @pytest.fixture
    def policies(self, tmp_path: Path) -> Path:
        root = tmp_path / "policies"
        root.mkdir()
        (root / "hate.md").write_text("# Policy\n")
        return root

    @pytest.fixture
    def moderated(self, variables: dict[str, str], policies: Path) -> dict[str, str]:
        return {**variables, "POLICIES_ROOT": str(policies)}

    def test_a_stage_can_be_switched_on_off_and_on_again(
        self, variables: dict[str, str], moderated: dict[str, str], s3: Any, sqs: Any
    ) -> None:
        name = variables["S3_BUCKET"]
        rules = f"notification rules of bucket {name}"
        assert self._stages(variables) == []
        assert f"{name}-moderate" not in self._rules(s3, name)

        switched_on = [
            f"queue {name}-moderate-dead",
            f"queue {name}-moderate",
            f"policy of queue {name}-moderate",
            rules,
            "moderation: on",
        ]
        assert changes(moderated, dry_run=True) == changes(moderated) == switched_on
        assert changes(moderated) == []
        assert self._stages(variables) == ["moderate"]
        filters = self._rules(s3, name)[f"{name}-moderate"]["Filter"]["Key"]["FilterRules"]
        assert {item["Value"] for item in filters} == {"processed/", ".transcript.json"}

        queue = sqs.get_queue_url(QueueName=f"{name}-moderate")["QueueUrl"]
        # S3 tries each queue that it is told of.
        assert all("s3:TestEvent" in body for body in self._taken(sqs, queue))
        sqs.send_message(QueueUrl=queue, MessageBody="work")
        # Before its rule goes, nothing waits for the stage any more.
        switched_off = ["moderation: off", rules]
        assert changes(variables, dry_run=True) == changes(variables) == switched_off
        steps = [step.what for step in bootstrap(Environment(variables))]
        assert "queues of moderate, which is off, are kept (1 waiting, 0 dead)" in steps
        assert self._stages(variables) == []
        assert set(self._rules(s3, name)) == {
            f"{name}-{route}" for route in ("unpack", "transcribe", "review")
        }

        assert changes(moderated) == [rules, "moderation: on"]
        assert "work" in self._taken(sqs, queue)

    def test_without_policies_nothing_is_made_for_them(
        self, variables: dict[str, str], environment: Environment, s3: Any, sqs: Any
    ) -> None:
        name = variables["S3_BUCKET"]
        assert "QueueUrls" not in sqs.list_queues(QueueNamePrefix=f"{name}-moderate")
        assert not any(f"{name}-moderate" in step.what for step in bootstrap(environment))
        assert set(self._rules(s3, name)) == {
            f"{name}-{route}" for route in ("unpack", "transcribe", "review")
        }

    def test_batches_in_work_stay_as_they_are_and_are_counted(
        self, variables: dict[str, str], environment: Environment, moderated: dict[str, str]
    ) -> None:
        with psycopg.connect(variables["DATABASE_URL"]) as connection:
            connection.execute(
                "INSERT INTO batches (batch_id, sealed_at, completed_at)"
                " VALUES ('a', now(), now()), ('b', NULL, NULL)"
            )
        assert changes(moderated)[-1] == "moderation: on for new batches; 1 in work end without it"
        with psycopg.connect(variables["DATABASE_URL"]) as connection:
            connection.execute("INSERT INTO batches (batch_id, is_moderated) VALUES ('c', true)")
        off = changes(variables)[0]
        assert off.startswith("moderation: off for new batches; 1 in work still wait for verdicts")
        assert "keep 'dropscribe consume moderate'" in off
        # It is said until they are done.
        assert changes(variables) == []
        assert off in [step.what for step in bootstrap(Environment(variables))]
        with psycopg.connect(variables["DATABASE_URL"]) as connection:
            rows = connection.execute("SELECT batch_id FROM batches WHERE is_moderated").fetchall()
        assert rows == [("c",)]

    def test_policies_that_can_t_be_end_it_before_anything_is_made(
        self, variables: dict[str, str], policies: Path, sqs: Any
    ) -> None:
        (policies / "hate.md").write_text(" \n")
        with pytest.raises(ConfigurationError, match=r"hate\.md is empty"):
            changes({**variables, "POLICIES_ROOT": str(policies)})
        with pytest.raises(SettingError, match="POLICIES_ROOT"):
            changes({**variables, "POLICIES_ROOT": "policies"})
        assert "QueueUrls" not in sqs.list_queues(QueueNamePrefix=variables["BROKER_PREFIX"])

    @pytest.mark.usefixtures("environment")
    def test_commands_for_all_queues_skip_stages_that_were_never_on(self, run: Run) -> None:
        assert run("dead", "list").stdout == "no dead letters\n"
        assert run("dead", "list", "--route", "moderate").stdout == "no dead letters\n"
        swept = run("sweep", "--json")
        assert swept.exit_code == 0, swept.output
        assert json.loads(swept.stdout)["queues"]["moderate"] == 0

    def test_dead_letters_of_a_stage_that_was_switched_off_can_be_sent_again(
        self, variables: dict[str, str], moderated: dict[str, str], sqs: Any, run: Run
    ) -> None:
        name = variables["S3_BUCKET"]
        audio = AudioId(BatchId("20250622-143052-a1b2c3"), 1)
        changes(moderated)
        queue, dead = (
            sqs.get_queue_url(QueueName=each)["QueueUrl"]
            for each in (f"{name}-moderate", f"{name}-moderate-dead")
        )
        sqs.send_message(QueueUrl=dead, MessageBody=encode(name, audio.transcript_key))
        changes(variables)

        assert audio.transcript_key in run("dead", "list", "--json").stdout
        replayed = run("dead", "replay", "--all")
        assert replayed.exit_code == 0, replayed.output
        assert audio.transcript_key in replayed.stdout
        assert any(audio.transcript_key in body for body in self._taken(sqs, queue))

    def _rules(self, s3: Any, bucket: str) -> dict[str, Any]:
        answer = s3.get_bucket_notification_configuration(Bucket=bucket)
        return {rule["Id"]: rule for rule in answer["QueueConfigurations"]}

    def _taken(self, sqs: Any, queue: str) -> list[str]:
        messages = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]
        for message in messages:
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return [message["Body"] for message in messages]

    def _stages(self, variables: dict[str, str]) -> list[str]:
        with psycopg.connect(variables["DATABASE_URL"]) as connection:
            return [route for (route,) in connection.execute("SELECT route FROM stages")]


def test_unread_announcements_expire(
    variables: dict[str, str], environment: Environment, sqs: Any
) -> None:
    url = sqs.get_queue_url(QueueName=f"{variables['BROKER_PREFIX']}-ra")["QueueUrl"]
    answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert answer["MessageRetentionPeriod"] == str(14 * 86_400)
    assert "RedrivePolicy" not in answer


def test_an_unreachable_queue_service_is_named(variables: dict[str, str]) -> None:
    with pytest.raises(TransientError, match="SQS is unreachable"):
        changes({**variables, "BROKER_URL": "sqs://a:b@127.0.0.1:9"})


@pytest.mark.parametrize(
    ("store", "broker", "message"),
    [
        ("aws", "amqp://127.0.0.1", "AWS S3 sends notifications to SQS, not over AMQP"),
        ("ceph", "sqs://", "ceph sends notifications over AMQP, not to SQS"),
        ("minio", "sqs://", "minio sends notifications over AMQP, not to SQS"),
        ("rustfs", "sqs://", "rustfs sends notifications over AMQP, not to SQS"),
    ],
)
def test_conflicting_settings_are_reported(
    variables: dict[str, str], store: Any, broker: str, message: str
) -> None:
    given = {**variables, "BROKER_URL": broker}
    with pytest.raises(ConfigurationError, match=message):
        changes(given, store=store)
    with pytest.raises(ConfigurationError, match=message):
        changes({**given, "STORE_KIND": store})


def test_a_store_of_unknown_kind_has_to_be_named(variables: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="do not show which store it is: set --store"):
        changes({**variables, "BROKER_URL": "amqp://127.0.0.1"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("STORE_KIND", "swift"),
        ("RETENTION_DAYS", "0"),
        ("RETENTION_DAYS", "never"),
        ("RETENTION_DAYS_WITH_LOSSES", "0"),
        ("RETENTION_DAYS_WITH_LOSSES", "6"),
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
