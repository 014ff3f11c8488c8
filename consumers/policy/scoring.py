"""Scores: a causal model's choice between two tokens, after a prefix that is computed once."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from consumers.errors import ConfigurationError, PermanentError, TransientError, is_device_fault

#: Tokens of a prefix computed at a time: attention needs memory for their number times that of
#: all earlier ones.
_CHUNK = 1024


class NoMemoryError(TransientError):
    """The device is out of memory; a smaller batch may fit."""


@dataclass(frozen=True, slots=True)
class Prefix:
    """The first tokens of prompts, with the model's ``DynamicCache`` of keys and values."""

    ids: tuple[int, ...]
    cache: Any


class Scorer:
    """Computes the probability of one answer after a prompt; it does not change the model."""

    def __init__(
        self, torch: ModuleType, transformers: ModuleType, network: Any, yes: int, no: int
    ) -> None:
        """Use a ``...ForCausalLM`` in evaluation mode, and the token ids of the two answers.

        Raises:
            ConfigurationError: An unmerged adapter changes the output layer.
        """
        self._torch = torch
        self._caches = transformers.cache_utils
        self._config = network.config.get_text_config()
        self._decoder = network.get_decoder()
        self._device = network.device
        head = network.get_output_embeddings()
        if hasattr(head, "lora_A"):
            raise ConfigurationError(
                "the policy adapter (POLICY_ADAPTER) changes the model's output layer, so it must "
                "be merged: set POLICY_QUANTISATION to none"
            )
        # Two of the 256,000 rows of Gemma's vocabulary. In float32, because with bfloat16
        # logits of 16 and more, scores have steps of 3 %.
        with torch.inference_mode():
            self._rows = head.weight[[no, yes]].float()
        self._cap: float | None = getattr(self._config, "final_logit_softcapping", None)

    @property
    def longest(self) -> int:
        """The model's longest context, in tokens."""
        longest: int = self._config.max_position_embeddings
        return longest

    def compute_prefix(self, ids: Sequence[int]) -> Prefix:
        """Compute the cache for prompts that begin with these tokens.

        Raises:
            NoMemoryError: The device is out of memory.
            TransientError: The device failed.
        """
        cache = self._caches.DynamicCache(config=self._config)
        with self._on_device():
            for start in range(0, len(ids), _CHUNK):
                self._forward([ids[start : start + _CHUNK]], start, cache)
        return Prefix(tuple(ids), cache)

    def scores(self, rows: Sequence[Sequence[int]], prefix: Prefix | None) -> list[float]:
        """Return for each prompt the probability of yes among yes and no.

        Args:
            rows: The tokens of each prompt after the prefix, at least one.
            prefix: None if the rows are whole prompts.

        Raises:
            NoMemoryError: The device is out of memory.
            TransientError: The device failed.
            PermanentError: The model's answer is not a number.
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
            raise PermanentError("the answer of the policy model (POLICY_MODEL) is not a number")
        return scores

    def release(self) -> None:
        """Return cached memory to the device."""
        if self._device.type == "cuda":
            self._torch.cuda.empty_cache()

    def _forward(self, rows: Sequence[Sequence[int]], start: int, cache: Any) -> Any:
        """Run the decoder; returns its last states, rows x tokens x width.

        Rows are padded on the right. Attention looks back only, so without a mask the real
        tokens see no padding, and keep their positions.
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
                    f"{self._device} is out of memory for the policy model and its prompts: lower "
                    "POLICY_BATCH_SIZE, or set POLICY_QUANTISATION"
                ) from exc
            raise TransientError(
                f"the device {self._device} failed the policy model: {exc}"
            ) from exc


class _Lent:
    """A read-only layer of a prefix's cache, for one forward pass of many rows.

    transformers' own layers would keep each row's copy of the prefix, in all layers at once:
    with Gemma-2-9B 344 KB per token and row. This one copies a layer only while that is
    computed.
    """

    is_compileable = False

    def __init__(self, torch: ModuleType, layer: Any) -> None:
        self._torch = torch
        self._layer = layer
        self.is_sliding: bool = layer.is_sliding

    def update(self, keys: Any, values: Any, _: object = None) -> tuple[Any, Any]:
        """Prepend the prefix to new keys and values, rows x heads x tokens x width."""
        return self._after(self._layer.keys, keys), self._after(self._layer.values, values)

    def get_seq_length(self) -> int:
        length: int = self._layer.get_seq_length()
        return length

    def get_mask_sizes(self, cache_position: Any) -> tuple[int, int]:
        sizes: tuple[int, int] = self._layer.get_mask_sizes(cache_position)
        return sizes

    def _after(self, prefix: Any, new: Any) -> Any:
        return self._torch.cat([prefix.expand(new.shape[0], -1, -1, -1), new], dim=-2)
