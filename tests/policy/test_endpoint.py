"""The judge behind an address, against a real server of the same model."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from consumers.errors import ConfigurationError, PermanentError, TransientError
from consumers.policy.cope import prompt
from consumers.policy.endpoint import EndpointJudge
from consumers.policy.in_process import load_judge
from tests.contracts.judge import CONTENTS, POLICY, JudgeContract
from tests.harness.certificates import certify
from tests.policy.conftest import KEY, serving

Make = Callable[..., EndpointJudge]

SAID = "something private"


def make_judge(url: str, **changes: object) -> EndpointJudge:
    options: dict[str, Any] = {
        "model": "gemma-2-9b",
        "key": KEY,
        "timeout": 20.0,
        "ca_file": None,
        "batch_size": 4,
        "context": 1024,
    }
    return EndpointJudge(f"{url}/v1", **{**options, **changes})


@pytest.fixture
def judge(server: str) -> Iterator[EndpointJudge]:
    with make_judge(server) as judge:
        yield judge


def inject(server: str, *faults: object) -> None:
    """Have the server's next requests meet these."""
    request = Request(f"{server}/faults", data=json.dumps(faults).encode())  # noqa: S310
    with urlopen(request):  # noqa: S310
        pass


def asked(server: str) -> list[list[str]]:
    """The prompts of the requests that it has answered."""
    with urlopen(f"{server}/asked") as answer:  # noqa: S310
        prompts: list[list[str]] = json.load(answer)
    return prompts


class TestContract(JudgeContract):
    @pytest.fixture
    def judge(self, judge: EndpointJudge) -> EndpointJudge:
        return judge


def test_scores_match_those_in_process(judge: EndpointJudge, judging: tuple[Path, Path]) -> None:
    base, adapter = judging
    in_process = load_judge(
        model=base,
        adapter=adapter,
        device="cpu",
        quantisation="none",
        batch_size=4,
        context=1024,
    )
    expected = in_process.scores(POLICY, CONTENTS)
    assert judge.scores(POLICY, CONTENTS) == pytest.approx(expected, abs=1e-4)
    assert judge.prompt_tokens("No spam.") == in_process.prompt_tokens("No spam.")


def test_the_prompts_reach_the_server_byte_by_byte(judge: EndpointJudge, server: str) -> None:
    asked(server)
    judge.scores(POLICY, CONTENTS)
    prompts = [prompt(POLICY, content) for content in CONTENTS]
    assert asked(server) == [prompts[:4], prompts[4:]]


def test_a_policys_tokens_are_counted_once(judge: EndpointJudge, server: str) -> None:
    asked(server)
    assert judge.prompt_tokens(POLICY) == judge.prompt_tokens(POLICY)
    assert asked(server) == [[prompt(POLICY, "")]]


@pytest.mark.parametrize("fault", [500, 503, 429, "cut"])
def test_temporary_errors_are_retried(judge: EndpointJudge, server: str, fault: object) -> None:
    expected = judge.scores(POLICY, ["forbidden"])
    inject(server, fault)
    assert judge.scores(POLICY, ["forbidden"]) == expected


@pytest.mark.parametrize(
    ("fault", "message"),
    [(500, "answers 500"), (429, "answers 429"), ("cut", "is unreachable")],
)
def test_lasting_errors_are_left_to_a_later_delivery(
    judge: EndpointJudge, server: str, fault: object, message: str
) -> None:
    inject(server, fault, fault, fault)
    with pytest.raises(TransientError, match=message):
        judge.scores(POLICY, ["forbidden"])


def test_a_slow_server_is_left_to_a_later_delivery(server: str) -> None:
    with make_judge(server, timeout=0.2) as judge:
        inject(server, "slow", "slow", "slow")
        with pytest.raises(TransientError, match="POLICY_ENDPOINT_TIMEOUT"):
            judge.scores(POLICY, ["forbidden"])


def test_an_answer_that_breaks_off_is_left_to_a_later_delivery(
    judge: EndpointJudge, server: str
) -> None:
    inject(server, "garbled", "garbled", "garbled")
    with pytest.raises(TransientError, match="is invalid"):
        judge.scores(POLICY, ["forbidden"])


def test_an_unreachable_server_is_left_to_a_later_delivery() -> None:
    with (
        make_judge("http://127.0.0.1:9") as judge,
        pytest.raises(TransientError, match="is unreachable"),
    ):
        judge.prompt_tokens(POLICY)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (400, "POLICY_CONTEXT"),
        ("page", "POLICY_ENDPOINT"),
        ("few", "0 answers to 1 prompts"),
        ("elsewhere", "POLICY_ENDPOINT_MODEL"),
    ],
)
def test_permanent_errors_name_the_setting_to_check(
    judge: EndpointJudge, server: str, fault: object, message: str
) -> None:
    inject(server, fault)
    with pytest.raises(PermanentError, match=message):
        judge.scores(POLICY, ["forbidden"])


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (401, "POLICY_ENDPOINT_KEY"),
        (403, "POLICY_ENDPOINT_KEY"),
        (404, "POLICY_ENDPOINT_MODEL"),
        ("silent", "logprobs"),
    ],
)
def test_an_endpoint_that_can_judge_nothing_ends_the_consumer(
    judge: EndpointJudge, server: str, fault: object, message: str
) -> None:
    """No recording is to blame for a key that was changed."""
    inject(server, fault)
    with pytest.raises(ConfigurationError, match=message):
        judge.scores(POLICY, ["forbidden"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"key": "wrong"}, "POLICY_ENDPOINT_KEY"),
        ({"key": None}, "POLICY_ENDPOINT_KEY"),
        ({"model": "gpt-7"}, "'gpt-7' \\(POLICY_ENDPOINT_MODEL\\)"),
    ],
)
def test_a_wrong_setting_is_named(server: str, change: dict[str, object], message: str) -> None:
    with make_judge(server, **change) as judge, pytest.raises(ConfigurationError, match=message):
        judge.scores(POLICY, ["forbidden"])


@pytest.mark.parametrize("fault", [500, 400, 401, "cut", "garbled", "page", "elsewhere"])
def test_neither_the_transcript_nor_the_key_is_in_errors_or_logs(
    judge: EndpointJudge, server: str, fault: object, caplog: pytest.LogCaptureFixture
) -> None:
    """Not in a traceback either, though this server quotes the prompt when it refuses."""
    inject(server, fault, fault, fault)
    with (
        caplog.at_level(logging.DEBUG),
        pytest.raises((TransientError, PermanentError, ConfigurationError)) as caught,
    ):
        judge.scores(POLICY, [SAID])
    told = "".join(traceback.format_exception(caught.value)) + caplog.text + repr(judge)
    assert SAID not in told
    assert "Nobody may say" not in told
    assert KEY not in told


def test_a_private_certificate_is_vouched_for_by_a_file(
    judging: tuple[Path, Path], tmp_path: Path
) -> None:
    certificate, key = certify(tmp_path, "endpoint")
    with serving(*judging, str(certificate), str(key)) as url:
        with make_judge(url, ca_file=certificate) as judge:
            assert judge.scores(POLICY, ["forbidden"])[0] > 0.9
        with (
            make_judge(url) as judge,
            pytest.raises(TransientError, match=r"(?i)certificate.verify.failed"),
        ):
            judge.scores(POLICY, ["forbidden"])


def test_missing_certificates_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="POLICY_ENDPOINT_CA_FILE"):
        make_judge("https://127.0.0.1:9", ca_file=tmp_path / "none.pem")


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(ConfigurationError, match=r"the extra endpoint"):
        make_judge("http://127.0.0.1:9")
