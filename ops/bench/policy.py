"""How many windows per second are judged, with and without the policy's prefix kept.

The weights are random: speed depends on a model's shape, and on nothing in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress

from consumers.errors import ConfigurationError, TransientError
from consumers.policy.in_process import CopeJudge
from consumers.policy.loading import Libraries, chosen_device, import_libraries
from consumers.policy.scoring import Scorer
from consumers.policy.tokens import PromptTokens
from ops.output import print_json

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

Advance = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Load:
    """What is judged: so many windows of so many tokens, by one policy of so many."""

    windows: int
    window_tokens: int
    policy_tokens: int
    batch_size: int


@dataclass(frozen=True, slots=True)
class Figures:
    """Windows per second, on one device in one run, and by how much scores differ at most."""

    shape: str
    device: str
    with_prefix: float
    without_prefix: float
    ratio: float
    largest_difference: float


@click.command()
@click.option(
    "--shape",
    type=click.Choice(list(SHAPES)),
    help="The model's; gemma-2-9b on a GPU, small on a CPU, if not given.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option(
    "--windows", default=64, show_default=True, type=click.IntRange(1), help="How many to judge."
)
@click.option(
    "--window-tokens",
    default=200,
    show_default=True,
    type=click.IntRange(1),
    help="Of each window; a minute of speech has some 200.",
)
@click.option(
    "--policy-tokens",
    default=1500,
    show_default=True,
    type=click.IntRange(1),
    help="Of the policy.",
)
@click.option(
    "--batch-size",
    default=8,
    show_default=True,
    type=click.IntRange(1),
    help="Windows at a time (POLICY_BATCH_SIZE).",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def policy(
    shape: str | None,
    device: str,
    windows: int,
    window_tokens: int,
    policy_tokens: int,
    batch_size: int,
    *,
    as_json: bool,
) -> None:
    """Measure windows per second of the policy model, with and without prefix reuse.

    Makes a Gemma-2 with random weights (of gemma-2-9b's shape: 18 GB on a GPU) and
    has it judge the same windows twice: with what a policy's prompts have in
    common computed once, that time included, and with whole prompts.

    \b
      python -m ops.bench policy
      python -m ops.bench policy --shape small --device cpu --windows 16 --json
    """  # noqa: D301
    load = Load(windows, window_tokens, policy_tokens, batch_size)
    try:
        libraries = import_libraries()
        device = chosen_device(device, libraries)
        with _bars(2 * windows) as advance:
            figures = _measured(libraries, shape or _shape_for(device), device, load, advance)
    except (ConfigurationError, TransientError) as exc:
        raise click.ClickException(str(exc)) from exc
    if as_json:
        print_json({**asdict(figures), **asdict(load)})
    else:
        click.echo(_for_people(figures, load))


def _shape_for(device: str) -> str:
    return "gemma-2-9b" if device == "cuda" else "small"


def _measured(
    libraries: Libraries, shape: str, device: str, load: Load, advance: Advance
) -> Figures:
    tokens = PromptTokens(_tokenizer(libraries))
    network = _network(libraries, shape, device)
    scorer = Scorer(libraries.torch, libraries.transformers, network, tokens.yes, tokens.no)

    def measure(*, reuses_prefix: bool) -> tuple[float, list[float]]:
        judge = CopeJudge(
            scorer,
            tokens,
            model=shape,
            adapter=None,
            batch_size=load.batch_size,
            context=scorer.longest,
            reuses_prefix=reuses_prefix,
        )
        return _speed(judge, load, advance)

    fast, scores = measure(reuses_prefix=True)
    slow, others = measure(reuses_prefix=False)
    difference = max(abs(a - b) for a, b in zip(scores, others, strict=True))
    name = libraries.torch.cuda.get_device_name() if device == "cuda" else device
    return Figures(shape, name, fast, slow, fast / slow, difference)


def _speed(judge: CopeJudge, load: Load, advance: Advance) -> tuple[float, list[float]]:
    """Windows per second, and their scores; what is only slow the first time is left out."""
    contents = [_text(load.window_tokens, n) for n in range(load.windows)]
    judge.scores(_text(load.policy_tokens, 1), contents[: load.batch_size])
    policy = _text(load.policy_tokens, 0)
    scores: list[float] = []
    begin = time.perf_counter()
    while len(scores) < len(contents):
        batch = contents[len(scores) : len(scores) + load.batch_size]
        scores += judge.scores(policy, batch)
        advance(len(batch))
    return len(scores) / (time.perf_counter() - begin), scores


def _text(words: int, seed: int) -> str:
    return " ".join(f"w{(seed * 7 + n * n) % _WORDS}" for n in range(words))


def _tokenizer(libraries: Libraries) -> Any:
    """A tokenizer for which each word is one token."""
    from tokenizers import Tokenizer, models, pre_tokenizers  # noqa: PLC0415

    words = ["<unk>", "0", "1", *(f"w{n}" for n in range(_WORDS))]
    tokenizer = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return libraries.transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def _network(libraries: Libraries, shape: str, device: str) -> Any:
    torch, transformers = libraries.torch, libraries.transformers
    config = transformers.Gemma2Config(**SHAPES[shape])
    torch.manual_seed(0)
    with torch.device(device):
        return transformers.AutoModelForCausalLM.from_config(
            config,
            dtype=torch.bfloat16 if device == "cuda" else torch.float32,
            attn_implementation="eager",
        ).eval()


def _for_people(figures: Figures, load: Load) -> str:
    return (
        f"{figures.shape} with random weights on {figures.device}: {load.windows} windows of "
        f"{load.window_tokens} tokens, a policy of {load.policy_tokens}, batches of "
        f"{load.batch_size}\n"
        f"prefix computed once  {figures.with_prefix:8.2f} windows/s\n"
        f"whole prompts         {figures.without_prefix:8.2f} windows/s\n"
        f"ratio                 {figures.ratio:8.2f}\n"
        f"scores differ by      {figures.largest_difference:8.2g} at most"
    )


@contextmanager
def _bars(total: int) -> Iterator[Advance]:
    """Show how far it is, on a terminal."""
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as bars:
        task = bars.add_task("windows judged", total=total)
        yield lambda count: bars.advance(task, count)
