"""A causal model's say between two tokens, on from a prefix that is computed once."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from consumers.errors import ConfigurationError, PermanentError, TransientError, is_device_fault

#: Tokens of a prefix that are computed at a time: attention takes memory by
#: these times all before them.
_CHUNK = 1024


class NoMemoryError(TransientError):
    """The device has no memory for so much at once."""


@dataclass(frozen=True, slots=True)
class Prefix:
    """The first tokens of prompts, and a model's keys and values for them (a ``DynamicCache``)."""

    ids: tuple[int, ...]
    cache: Any


class Scorer:
    """Asks a model for one token after a prompt. Changes nothing in it."""

    def __init__(
        self, torch: ModuleType, transformers: ModuleType, network: Any, yes: int, no: int
    ) -> None:
        """Take a ``...ForCausalLM`` in evaluation mode, and the tokens that it chooses between.

        Raises:
            ConfigurationError: An adapter that is not merged changes its output layer.
        """
        self._torch = torch
        self._caches = transformers.cache_utils
        self._config = network.config.get_text_config()
        self._decoder = network.get_decoder()
        self._device = network.device
        head = network.get_output_embeddings()
        if hasattr(head, "lora_A"):
            raise ConfigurationError(
                "the policy adapter (POLICY_ADAPTER) changes the model's output layer, which it "
                "can only where it is merged: set POLICY_QUANTISATION to none"
            )
        # Two rows of the 256,000 that Gemma's vocabulary has. In float32: between
        # two bfloat16 logits of 16 and more, scores go in steps of 3 %.
        with torch.inference_mode():
            self._rows = head.weight[[no, yes]].float()
        self._cap: float | None = getattr(self._config, "final_logit_softcapping", None)

    @property
    def longest(self) -> int:
        """The most tokens that the model was made for."""
        longest: int = self._config.max_position_embeddings
        return longest

    def compute_prefix(self, ids: Sequence[int]) -> Prefix:
        """Compute what all prompts that begin with these tokens have in common.

        Raises:
            NoMemoryError: See there.
            TransientError: The device failed.
        """
        cache = self._caches.DynamicCache(config=self._config)
        with self._on_device():
            for start in range(0, len(ids), _CHUNK):
                self._forward([ids[start : start + _CHUNK]], start, cache)
        return Prefix(tuple(ids), cache)

    def scores(self, rows: Sequence[Sequence[int]], prefix: Prefix | None) -> list[float]:
        """Say for each prompt how likely the model's answer is yes, of yes and no.

        Args:
            rows: Of each prompt the tokens after the prefix, at least one.
            prefix: None where the rows are whole prompts.

        Returns:
            Probabilities, in the rows' order.

        Raises:
            NoMemoryError: See there.
            TransientError: The device failed.
            PermanentError: The model answers with what is no number.
        """
        lengths = [len(row) for row in rows]
        padded = [[*row, *[0] * (max(lengths) - len(row))] for row in rows]
        with self._on_device():
            if prefix is None:
                states = self._forward(padded, 0, None)
            else:
                cache = self._caches.Cache(
                    layers=[_Lent(self._torch, x) for x in prefix.cache.layers]
                )
                states = self._forward(padded, len(prefix.ids), cache)
            last = states[range(len(rows)), [length - 1 for length in lengths]]
            logits = self._torch.nn.functional.linear(last.float(), self._rows)
            if self._cap is not None:
                logits = self._torch.tanh(logits / self._cap) * self._cap
            scores: list[float] = logits.double().softmax(dim=-1)[:, 1].tolist()
        if not all(map(math.isfinite, scores)):
            raise PermanentError("the policy model (POLICY_MODEL) answers with what is no number")
        return scores

    def release(self) -> None:
        """Give memory back to the device that is held for later."""
        if self._device.type == "cuda":
            self._torch.cuda.empty_cache()

    def _forward(self, rows: Sequence[Sequence[int]], start: int, cache: Any) -> Any:
        """Run the decoder; gives its last states, of rows x tokens x width.

        Rows are padded on the right: attention looks back only, and so, without
        any mask, what counts sees no padding and stands where it would stand alone.
        """
        ids = self._torch.tensor(rows, device=self._device)
        positions = self._torch.arange(start, start + ids.shape[1], device=self._device)
        return self._decoder(
            input_ids=ids,
            position_ids=positions[None],
            cache_position=positions,
            past_key_values=cache,
            use_cache=cache is not None,
        ).last_hidden_state

    @contextmanager
    def _on_device(self) -> Iterator[None]:
        try:
            with self._torch.inference_mode():
                yield
        except (RuntimeError, MemoryError) as exc:
            if not is_device_fault(exc):
                raise
            if "memory" in str(exc) or isinstance(exc, MemoryError):
                raise NoMemoryError(
                    f"there is not memory enough on {self._device} for the policy model and what "
                    "it was asked (POLICY_BATCH_SIZE, POLICY_QUANTISATION)"
                ) from exc
            raise TransientError(
                f"the device {self._device} failed the policy model: {exc}"
            ) from exc


class _Lent:
    """A layer of a prefix's cache for one forward pass of many rows, which leaves no trace in it.

    transformers' own layers would keep each row's copy of the prefix, in all
    layers at once: with Gemma-2-9B 344 KB per token and row. This one makes the
    copies of a layer when that is computed, and keeps none.
    """

    is_compileable = False

    def __init__(self, torch: ModuleType, layer: Any) -> None:
        self._torch = torch
        self._layer = layer
        self.is_sliding: bool = layer.is_sliding

    def update(self, keys: Any, values: Any, _: object = None) -> tuple[Any, Any]:
        """Put the prefix before new keys and values, of rows x heads x tokens x width."""
        return self._after(self._layer.keys, keys), self._after(self._layer.values, values)

    def get_seq_length(self) -> int:
        length: int = self._layer.get_seq_length()
        return length

    def get_mask_sizes(self, cache_position: Any) -> tuple[int, int]:
        sizes: tuple[int, int] = self._layer.get_mask_sizes(cache_position)
        return sizes

    def _after(self, prefix: Any, new: Any) -> Any:
        return self._torch.cat([prefix.expand(new.shape[0], -1, -1, -1), new], dim=-2)
