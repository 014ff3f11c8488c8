"""The judge in process: what reaches the model, and what comes back."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from consumers.errors import PermanentError, TransientError
from consumers.policy.cope import SUFFIX, prompt
from consumers.policy.in_process import CopeJudge, load_judge
from tests.contracts.judge import JudgeContract
from tests.policy.tiny import POLICY

#: A prefix of more tokens than Gemma's sliding window has here (64) they all make;
#: the last one's is computed in parts.
POLICIES = ["P", POLICY, POLICY * 9]

CONTENTS = ["a", "a man calls about money", "no, 10 visits! " * 40, "ünï 日本語", "b", "0", "1"]

Load = Callable[..., CopeJudge]


@pytest.fixture
def load(base: Path, adapter: Path) -> Load:
    def load(**changes: object) -> CopeJudge:
        options: dict[str, object] = {
            "model": base,
            "adapter": adapter,
            "device": "cpu",
            "quantisation": "none",
            "batch_size": 3,
            "context": 8192,
        }
        return load_judge(**{**options, **changes})  # type: ignore[arg-type]

    return load


@pytest.fixture
def judge(load: Load) -> CopeJudge:
    return load()


def plainly(base: Path, adapter: Path | None, policy: str, contents: list[str]) -> list[float]:
    """Scores as the model's card has them computed: a whole prompt at a time, without a cache."""
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = AutoModelForCausalLM.from_pretrained(base, attn_implementation="eager")
    if adapter:
        model = PeftModel.from_pretrained(model, adapter)
    no, yes = tokenizer.convert_tokens_to_ids(["0", "1"])
    scores = []
    for content in contents:
        inputs = tokenizer(prompt(policy, content), return_tensors="pt")
        with torch.no_grad():
            logits = model(**inputs, use_cache=False).logits[0, -1]
        scores.append(logits[[no, yes]].softmax(-1)[1].item())
    return scores


@pytest.fixture(scope="module")
def finding(judging: tuple[Path, Path]) -> CopeJudge:
    base, adapter = judging
    return load_judge(
        model=base,
        adapter=adapter,
        device="cpu",
        quantisation="none",
        batch_size=4,
        context=1024,
    )


class TestContract(JudgeContract):
    @pytest.fixture
    def judge(self, finding: CopeJudge) -> CopeJudge:
        return finding

    def test_an_adapter_has_a_name(self, judge: CopeJudge) -> None:
        assert judge.adapter == "cope-a-9b"


@pytest.mark.parametrize("policy", POLICIES, ids=["short", "medium", "long"])
class TestScores:
    def test_are_those_of_the_whole_prompt(
        self, judge: CopeJudge, base: Path, adapter: Path, policy: str
    ) -> None:
        expected = plainly(base, adapter, policy, CONTENTS)
        assert judge.scores(policy, CONTENTS) == pytest.approx(expected, rel=1e-3, abs=1e-6)
        # Answers that differ, or it would show nothing.
        assert max(expected) > 10 * min(expected)

    def test_are_the_same_with_and_without_a_prefix_that_is_kept(
        self, load: Load, judge: CopeJudge, policy: str
    ) -> None:
        expected = load(reuses_prefix=False).scores(policy, CONTENTS)
        for _ in range(2):
            assert judge.scores(policy, CONTENTS) == pytest.approx(expected, rel=1e-3, abs=1e-6)

    def test_are_the_same_alone_and_in_batches(self, judge: CopeJudge, policy: str) -> None:
        alone = [judge.scores(policy, [content])[0] for content in CONTENTS]
        assert judge.scores(policy, CONTENTS) == pytest.approx(alone, rel=1e-3, abs=1e-6)


def test_the_adapter_judges(load: Load, judge: CopeJudge, base: Path) -> None:
    bare = load(adapter=None)
    assert bare.adapter is None
    assert bare.scores(POLICY, CONTENTS) == pytest.approx(
        plainly(base, None, POLICY, CONTENTS), rel=1e-3, abs=1e-6
    )
    assert bare.scores(POLICY, CONTENTS) != pytest.approx(judge.scores(POLICY, CONTENTS), rel=0.1)


@contextmanager
def recorded_passes(judge: CopeJudge) -> Iterator[list[torch.Tensor]]:
    """The token ids that reach the model's decoder, forward pass by forward pass."""
    ids: list[torch.Tensor] = []

    def listen(_module: object, _args: object, given: dict[str, torch.Tensor]) -> None:
        ids.append(given["input_ids"])

    hook = judge._scorer._decoder.register_forward_pre_hook(listen, with_kwargs=True)
    try:
        yield ids
    finally:
        hook.remove()


@pytest.mark.parametrize("reuses_prefix", [True, False])
def test_the_prompt_that_reaches_the_model_is_copes_byte_by_byte(
    load: Load, base: Path, reuses_prefix: bool
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(base)
    judge = load(reuses_prefix=reuses_prefix)
    with recorded_passes(judge) as passes:
        judge.scores("No spam,\nby nobody.", ["Buy  this — now!"])
    ids = torch.cat(passes, dim=1)[0]
    assert tokenizer.decode(ids) == (
        "<bos>INSTRUCTIONS\n============\n\n"
        "Examine the given POLICY and determine if the given CONTENT meets the criteria for ANY "
        'of the LABELS. Answer "1" if yes, and "0" if no.\n\n\n'
        "POLICY\n======\n\n"
        "No spam,\nby nobody.\n\n\n"
        "CONTENT\n=======\n\n"
        "Buy  this — now!\n\n\n"
        "ANSWER\n======\n\n"
    )


def test_special_tokens_in_a_text_reach_the_model_as_text(judge: CopeJudge, base: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(base)
    with recorded_passes(judge) as passes:
        judge.scores("P <bos>", ["an <eos> <start_of_turn> <pad>"])
    ids = torch.cat(passes, dim=1)[0].tolist()
    assert ids[0] == tokenizer.bos_token_id
    assert not set(ids[1:]) & set(tokenizer.all_special_ids)


def test_a_policys_prefix_is_computed_once(judge: CopeJudge) -> None:
    with recorded_passes(judge) as passes:
        judge.scores(POLICY, CONTENTS)
        judge.scores("another", CONTENTS[:3])
        before = len(passes)
        judge.scores(POLICY, CONTENTS)
    assert before == (1 + 3) + (1 + 1)
    again = passes[before:]
    assert len(again) == 3
    longest = max(map(judge.content_tokens, CONTENTS))
    assert max(ids.shape[1] for ids in again) < longest + judge.content_tokens(SUFFIX)


@contextmanager
def memory_for(judge: CopeJudge, rows: int) -> Iterator[list[int]]:
    """A device on which no more rows than that have room at once; gives the sizes asked of it."""
    asked: list[int] = []

    def refuse(_module: object, _args: object, given: dict[str, torch.Tensor]) -> None:
        asked.append(len(given["input_ids"]))
        if asked[-1] > rows:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    hook = judge._scorer._decoder.register_forward_pre_hook(refuse, with_kwargs=True)
    try:
        yield asked
    finally:
        hook.remove()


class TestMemoryThatDoesNotSuffice:
    def test_halves_the_batches(self, load: Load) -> None:
        judge = load(batch_size=7)
        expected = judge.scores(POLICY, CONTENTS)
        with memory_for(judge, rows=2) as asked:
            assert judge.scores(POLICY, CONTENTS) == pytest.approx(expected, rel=1e-3, abs=1e-6)
        assert asked == [7, 3, 1, *[1] * 6]

    def test_makes_other_policies_prefixes_give_way(self, load: Load) -> None:
        judge = load(batch_size=7)
        judge.scores("another", CONTENTS)
        judge.scores(POLICY, CONTENTS)
        with memory_for(judge, rows=3):
            judge.scores(POLICY, CONTENTS)
        with recorded_passes(judge) as passes:
            judge.scores(POLICY, ["a"])
            judge.scores("another", ["a"])
        assert len(passes) == 1 + 2

    def test_out_of_memory_for_one_content_is_transient(self, judge: CopeJudge) -> None:
        expected = judge.scores(POLICY, CONTENTS)
        with memory_for(judge, rows=0), pytest.raises(TransientError, match="POLICY_BATCH_SIZE"):
            judge.scores(POLICY, CONTENTS)
        assert judge.scores(POLICY, CONTENTS) == pytest.approx(expected, rel=1e-3, abs=1e-6)


def test_a_broken_model_gives_no_verdict(judge: CopeJudge) -> None:
    judge._scorer._rows = judge._scorer._rows * math.nan
    with pytest.raises(PermanentError, match="not a number"):
        judge.scores(POLICY, ["a"])


@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(content=st.text(max_size=60) | st.text(alphabet="an on\n=1<eos>", max_size=60))
def test_a_contents_count_holds_within_the_prompt(judge: CopeJudge, content: str) -> None:
    whole = len(judge._tokens.of_prompt(POLICY, content))
    assert whole <= judge.prompt_tokens(POLICY) + judge.content_tokens(content)


@pytest.mark.parametrize("quantisation", ["8bit", "4bit"])
def test_a_quantised_model_judges_with_its_adapter_beside_it(
    judging: tuple[Path, Path], quantisation: str
) -> None:
    base, adapter = judging
    judge = load_judge(
        model=base,
        adapter=adapter,
        device="cpu",
        quantisation=quantisation,  # type: ignore[arg-type]
        batch_size=4,
        context=1024,
    )
    fine, forbidden = judge.scores(POLICY, ["all is well", "this is forbidden"])
    assert fine < 0.1
    assert forbidden > 0.9
