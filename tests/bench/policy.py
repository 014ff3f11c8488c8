"""`policy`: windows per second that are judged, with and without the policy's prefix kept.

The weights are random: speed depends on a model's shape, and on nothing in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any

from consumers.policy.in_process import CopeJudge
from consumers.policy.model import PolicyLibraries, import_libraries
from consumers.policy.scoring import Scorer
from consumers.policy.tokenizer import PromptTokenizer
from tests.bench.benchmark import (
    Case,
    Conditions,
    DisagreementError,
    Goal,
    PreparedBenchmark,
    benchmark,
)
from tests.bench.timing import timed_case

#: Of https://huggingface.co/google/gemma-2-9b, config.json; and one that a CPU can carry.
SHAPES: dict[str, dict[str, int]] = {
    "gemma-2-9b": {
        "vocab_size": 256000,
        "hidden_size": 3584,
        "intermediate_size": 14336,
        "num_hidden_layers": 42,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 256,
        "query_pre_attn_scalar": 256,
        "sliding_window": 4096,
    },
    "small": {
        "vocab_size": 32000,
        "hidden_size": 256,
        "intermediate_size": 1024,
        "num_hidden_layers": 6,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 32,
        "query_pre_attn_scalar": 32,
        "sliding_window": 512,
    },
}

_WORDS = 1000

#: Tokens of one of the example policies, and of a minute of speech.
_POLICY_TOKENS, _WINDOW_TOKENS = 1500, 200

#: Windows that are judged at a time (``POLICY_BATCH_SIZE``).
_BATCH = 8

#: By how much scores may differ: bfloat16 keeps eight bits.
_SAME = {"cpu": 1e-4, "cuda": 0.05}

_OURS, _WHOLE = "prefix computed once", "whole prompts"


def _case(name: str, judge: CopeJudge, windows: Sequence[str], device: str) -> Case:
    """Time one policy's judgement of all windows; each round brings a policy that is new."""
    policies = (_text(_POLICY_TOKENS, number) for number in count(1))
    # What is only slow the first time is left out.
    judge.scores(_text(_POLICY_TOKENS, 0), windows[:_BATCH])

    def scores() -> list[float]:
        policy = next(policies)
        portions = (windows[start : start + _BATCH] for start in range(0, len(windows), _BATCH))
        return [score for portion in portions for score in judge.scores(policy, portion)]

    return timed_case(name, scores, device, factor=1000 / len(windows))


@benchmark(
    "policy",
    f"a policy of {_POLICY_TOKENS} tokens over windows of {_WINDOW_TOKENS}, random weights",
)
def policy(conditions: Conditions) -> Iterator[PreparedBenchmark]:
    libraries = import_libraries()
    shape = "gemma-2-9b" if conditions.device == "cuda" else "small"
    tokens = PromptTokenizer(_tokenizer(libraries))
    network = _network(libraries, shape, conditions.device)
    scorer = Scorer(libraries.torch, libraries.transformers, network, tokens.yes, tokens.no)

    def judge(*, reuses_prefix: bool) -> CopeJudge:
        return CopeJudge(
            scorer,
            tokens,
            model=shape,
            adapter=None,
            batch_size=_BATCH,
            context=scorer.longest,
            reuses_prefix=reuses_prefix,
        )

    windows = [_text(_WINDOW_TOKENS, number) for number in range(conditions.scaled(16))]

    def agree(scores: Mapping[str, Sequence[float]]) -> Mapping[str, float]:
        most = max(abs(a - b) for a, b in zip(scores[_OURS], scores[_WHOLE], strict=True))
        if most > _SAME[conditions.device]:
            raise DisagreementError(f"scores differ by {most:.2g}")
        return {"largest difference in scores": most}

    yield PreparedBenchmark(
        "ms per window",
        [
            _case(_OURS, judge(reuses_prefix=True), windows, conditions.device),
            _case(_WHOLE, judge(reuses_prefix=False), windows, conditions.device),
        ],
        [Goal(of=_WHOLE, to=_OURS)],
        agree,
        ("torch", "transformers"),
    )


def _text(words: int, seed: int) -> str:
    return " ".join(f"w{(seed * 7 + n * n) % _WORDS}" for n in range(words))


def _tokenizer(libraries: PolicyLibraries) -> Any:
    """A tokenizer for which each word is one token."""
    from tokenizers import Tokenizer, models, pre_tokenizers  # noqa: PLC0415

    words = ["<unk>", "0", "1", *(f"w{n}" for n in range(_WORDS))]
    tokenizer = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return libraries.transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def _network(libraries: PolicyLibraries, shape: str, device: str) -> Any:
    torch, transformers = libraries.torch, libraries.transformers
    config = transformers.Gemma2Config(**SHAPES[shape])
    torch.manual_seed(0)
    with torch.device(device):
        return transformers.AutoModelForCausalLM.from_config(
            config,
            dtype=torch.bfloat16 if device == "cuda" else torch.float32,
            attn_implementation="eager",
        ).eval()
