"""The judge in this process: CoPE-A on transformers and peft."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path

from consumers.errors import ConfigurationError, PermanentError
from consumers.policy.model import Quantisation, chosen_device, import_libraries, load
from consumers.policy.scoring import NoMemoryError, Prefix, Scorer
from consumers.policy.tokenizer import PromptTokenizer, common_prefix

#: The number of policies whose prefixes are kept. With Gemma-2-9B, one takes 0.5 GB for a policy
#: of 1,500 tokens; they are dropped when memory is short.
_PREFIXES = 8

log = logging.getLogger(__name__)


class CopeJudge:
    """A model on a device of this machine; conforms to `consumers.policy.judge.Judge`.

    The same call always gives the same scores. In other batches the last digits of a score can
    differ, as kernels add in another order.
    """

    def __init__(
        self,
        scorer: Scorer,
        tokens: PromptTokenizer,
        *,
        model: str,
        adapter: str | None,
        batch_size: int,
        context: int,
        reuses_prefix: bool = True,
        on_batch: Callable[[float], None] = lambda _: None,
    ) -> None:
        """Use a loaded model; see `load_judge`.

        Args:
            scorer: The model.
            tokens: Its tokenizer.
            model: Its name.
            adapter: Its adapter's name.
            batch_size: The most contents at a time.
            context: The most tokens of a prompt.
            reuses_prefix: Whether the common part of a policy's prompts is computed once.
            on_batch: Called after each batch with its share of ``batch_size``, from 0 to 1.

        Raises:
            ConfigurationError: The context exceeds the model's.
        """
        if context > scorer.longest:
            raise ConfigurationError(
                f"POLICY_CONTEXT is {context}, but the model {model} takes {scorer.longest} tokens"
            )
        self._scorer = scorer
        self._tokens = tokens
        self.model = model
        self.adapter = adapter
        self._batch_size = batch_size
        self.context = context
        self._reuses_prefix = reuses_prefix
        self._on_batch = on_batch
        self._prefixes: OrderedDict[str, Prefix] = OrderedDict()

    def prompt_tokens(self, policy: str) -> int:
        """Count the prompt's tokens without content."""
        return len(self._tokens.of_prompt(policy, ""))

    def content_tokens(self, content: str) -> int:
        """Return the most tokens that a content can add to a prompt."""
        return self._tokens.most_of(content)

    def scores(self, policy: str, contents: Sequence[str]) -> list[float]:
        """Score contents against a policy; see the Protocol."""
        prompts = [self._tokens.of_prompt(policy, content) for content in contents]
        if not prompts:
            return []
        longest = max(map(len, prompts))
        if longest > self.context:
            raise PermanentError(
                f"a prompt has {longest} tokens, but POLICY_CONTEXT allows {self.context}"
            )
        prefix = self._prefix(policy, prompts) if self._reuses_prefix else None
        start = len(prefix.ids) if prefix else 0
        # The longest first, so that a lack of memory shows at once; batches of similar
        # lengths, so that they need little padding.
        order = sorted(range(len(prompts)), key=lambda n: len(prompts[n]), reverse=True)
        ordered = self._in_batches([prompts[n][start:] for n in order], prefix)
        scores = dict(zip(order, ordered, strict=True))
        return [scores[n] for n in range(len(prompts))]

    def _in_batches(self, rows: Sequence[Sequence[int]], prefix: Prefix | None) -> list[float]:
        scores: list[float] = []
        size = self._batch_size
        while len(scores) < len(rows):
            batch = rows[len(scores) : len(scores) + size]
            try:
                scores += self._scorer.scores(batch, prefix)
                self._on_batch(len(batch) / self._batch_size)
                continue
            except NoMemoryError:
                if not self._forget(all_but=prefix) and len(batch) == 1:
                    raise
            # Only outside the except block is the failed pass's memory unreferenced.
            self._scorer.release()
            size = max(1, len(batch) // 2)
            log.warning("the device's memory is short: the policy model judges %d at a time", size)
        return scores

    def _prefix(self, policy: str, prompts: Sequence[list[int]]) -> Prefix:
        """Find or compute the common part of these prompts.

        Tokens decide, not text: a tokenizer can join the end of the policy's part with the
        first characters of the content.
        """
        # The last token is left out: the model must compute it to give an answer.
        rows = [row[:-1] for row in (*prompts, self._tokens.of_prompt(policy, ""))]
        shared = tuple(rows[0][: common_prefix(rows)])
        known = self._prefixes.pop(policy, None)
        if known is None or shared[: len(known.ids)] != known.ids:
            known = self._computed(shared)
        self._prefixes[policy] = known
        if len(self._prefixes) > _PREFIXES:
            self._prefixes.popitem(last=False)
        return known

    def _computed(self, ids: Sequence[int]) -> Prefix:
        try:
            return self._scorer.compute_prefix(ids)
        except NoMemoryError:
            if not self._forget(all_but=None):
                raise
        self._scorer.release()
        return self._scorer.compute_prefix(ids)

    def _forget(self, all_but: Prefix | None) -> bool:
        """Drop other policies' prefixes; returns whether there were any."""
        others = [key for key, prefix in self._prefixes.items() if prefix is not all_but]
        for key in others:
            del self._prefixes[key]
        return bool(others)


def load_judge(
    *,
    model: Path,
    adapter: Path | None,
    device: str,
    quantisation: Quantisation,
    batch_size: int,
    context: int,
    reuses_prefix: bool = True,
    on_batch: Callable[[float], None] = lambda _: None,
) -> CopeJudge:
    """Load a judge from folders of weights; 9 billion parameters take a minute or two.

    Weights are bfloat16 on a GPU and float32 on a CPU. Nothing is downloaded.

    Args:
        model: The base model's folder (``google/gemma-2-9b``).
        adapter: The LoRA adapter's folder (``zentropi-ai/cope-a-9b``), or None.
        device: ``auto``, ``cpu`` or ``cuda``.
        quantisation: ``none``, ``8bit`` or ``4bit``.
        batch_size: The most contents at a time.
        context: The most tokens of a prompt.
        reuses_prefix: Whether the common part of a policy's prompts is computed once.
        on_batch: Called after each batch with its share of ``batch_size``, from 0 to 1.

    Raises:
        ConfigurationError: A package is not installed, the weights are missing or do not match,
            or the device is missing or too small; the message names the remedy.
    """
    libraries = import_libraries()
    loaded = load(libraries, model, adapter, chosen_device(device, libraries), quantisation)
    tokens = PromptTokenizer(loaded.tokenizer)
    scorer = Scorer(libraries.torch, libraries.transformers, loaded.network, tokens.yes, tokens.no)
    return CopeJudge(
        scorer,
        tokens,
        model=model.name,
        adapter=adapter.name if adapter else None,
        batch_size=batch_size,
        context=context,
        reuses_prefix=reuses_prefix,
        on_batch=on_batch,
    )
