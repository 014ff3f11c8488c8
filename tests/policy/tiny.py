"""Gemma-2 models small enough to be made in a test, in the files that the real one comes in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers.trainers import BpeTrainer
from transformers import Gemma2Config, Gemma2ForCausalLM, GemmaTokenizerFast

from consumers.policy.cope import SUFFIX, prefix

#: What contents come after in CoPE's prompt.
MARKER = "\n\n\nCONTENT\n=======\n\n"

_SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<start_of_turn>", "<end_of_turn>"]

#: As operators write them.
POLICY = """\
# Spam Policy

## Overview

This policy is about unwanted messages, and what people say to sell things that nobody asked for.

## Definition of Labels

### (SP): Spam

#### Includes

- Offers of money, prizes or medicines, that the listener did not ask for.
- Requests to call a number, to visit an address, or to send money at once.

#### Excludes

- News about such offers, and warnings of them.
"""


def tiny_gemma(folder: Path, *, seed: int = 0, layers: int = 4) -> Path:
    """Save a Gemma-2 with random weights, whose sliding window is shorter than CoPE's prompt."""
    torch.manual_seed(seed)
    tokenizer = _tokenizer()
    network = Gemma2ForCausalLM(
        Gemma2Config(
            vocab_size=len(tokenizer),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=layers,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=16,
            query_pre_attn_scalar=16,
            sliding_window=64,
            # So large that answers differ from content to content.
            initializer_range=0.5,
        )
    )
    return _save(folder, network, tokenizer)


#: All that a layer multiplies with.
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def tiny_adapter(
    folder: Path, base: Path, *, seed: int = 1, projections: Sequence[str] = PROJECTIONS
) -> Path:
    """Save a LoRA adapter for a base, none of whose weights is zero."""
    torch.manual_seed(seed)
    network = Gemma2ForCausalLM.from_pretrained(base)
    config = LoraConfig(r=4, lora_alpha=8, target_modules=list(projections), task_type="CAUSAL_LM")
    model = get_peft_model(network, config)
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if "lora_" in name:
                torch.nn.init.normal_(weights, std=0.3)
    model.save_pretrained(folder, safe_serialization=True, save_embedding_layers=False)
    return folder


def judging_model(folder: Path, *words: str) -> tuple[Path, Path]:
    """Save a Gemma-2 and an adapter that together answer 1 where a content holds one of the words.

    They are made by hand, and right whatever the policy says and however long it
    is: of the tokens, each word is one (in lower case, in capitals, capitalised),
    and so is the line of CoPE's prompt after which contents come. The second
    layer marks all tokens after that one; in the fourth, the last token looks for
    marked ones that are such words, and the adapter has it say so. Without the
    adapter the model always answers 0.

    Args:
        folder: Where to; the folders' names are those of the settings' defaults.
        words: Words, or phrases.

    Returns:
        The folders of base and adapter.
    """
    tokenizer = _tokenizer(MARKER, *(each for word in words for each in _spellings(word)))
    width = 64
    network = Gemma2ForCausalLM(
        Gemma2Config(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=128,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=16,
            query_pre_attn_scalar=16,
            sliding_window=64,
            # Positions turn the slowest pair of a head's numbers by nothing to speak of.
            rope_theta=1e12,
            tie_word_embeddings=False,
        )
    )
    for weights in network.parameters():
        torch.nn.init.zeros_(weights)
    # Numbers of a token's state. Each token has ANY and one of the next three.
    any_, plain, word, marker, marked, unmoved, found = range(7)
    slow = 7  # of a head's 16 numbers
    with torch.no_grad():
        embedding = network.model.embed_tokens.weight
        embedding[:, [any_, plain]] = 1
        for row, kind in _kinds(tokenizer, words, word, marker).items():
            embedding[row, plain] = 0
            embedding[row, kind] = 1

        marking = network.model.layers[1].self_attn
        marking.q_proj.weight[slow, any_] = 1
        marking.k_proj.weight[slow, marker] = 5
        marking.v_proj.weight[0, marker] = 1
        marking.o_proj.weight[marked, 0] = 1

        finding = network.model.layers[3].self_attn
        finding.q_proj.weight[slow, any_] = 1
        finding.k_proj.weight[slow, marked] = 5.25
        finding.k_proj.weight[slow, word] = 2.25
        finding.v_proj.weight[0, any_] = 0.5
        finding.o_proj.weight[unmoved, 0] = 1
        finding.o_proj.weight[found, 1] = 1

        head = network.lm_head.weight
        head[tokenizer.convert_tokens_to_ids("0"), unmoved] = 2
        head[tokenizer.convert_tokens_to_ids("1"), found] = 4
    base = _save(folder / "gemma-2-9b", network, tokenizer)
    return base, _finding_adapter(folder / "cope-a-9b", network, word)


def _finding_adapter(folder: Path, network: Any, word: int) -> Path:
    config = LoraConfig(
        r=1,
        lora_alpha=1,
        target_modules=["v_proj"],
        layers_to_transform=[3],
        task_type="CAUSAL_LM",
    )
    model = get_peft_model(network, config)
    values = model.get_base_model().model.layers[3].self_attn.v_proj
    with torch.no_grad():
        values.lora_A["default"].weight.zero_()[0, word] = 1
        values.lora_B["default"].weight.zero_()[1, 0] = 1
    model.save_pretrained(folder, safe_serialization=True, save_embedding_layers=False)
    return folder


def _kinds(
    tokenizer: GemmaTokenizerFast, words: tuple[str, ...], word: int, marker: int
) -> dict[int, int]:
    spellings = {each for one in words for each in _spellings(one)}
    kinds = {tokenizer.convert_tokens_to_ids(each): word for each in spellings}
    return kinds | {tokenizer.convert_tokens_to_ids(MARKER): marker}


def _spellings(word: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys((word.lower(), word.capitalize(), word.upper())))


def _tokenizer(*whole: str) -> GemmaTokenizerFast:
    """Byte pairs over bytes, spaces as ``▁`` and digits by themselves, as Gemma has them."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Digits(individual_digits=True)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    trainer = BpeTrainer(
        vocab_size=800,
        special_tokens=[*_SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256))],
        initial_alphabet=list("0123456789▁\n"),
        # With so little text, it would learn whole lines.
        max_token_length=6,
        show_progress=False,
    )
    tokenizer.train_from_iterator([POLICY, prefix(POLICY) + POLICY + SUFFIX], trainer)
    tokenizer.add_tokens(
        [AddedToken(each, normalized=False, single_word=each != MARKER) for each in whole]
    )
    return GemmaTokenizerFast(
        tokenizer_object=tokenizer, additional_special_tokens=_SPECIAL[4:], padding_side="left"
    )


def _save(folder: Path, network: Gemma2ForCausalLM, tokenizer: GemmaTokenizerFast) -> Path:
    assert math.isclose(network.config.final_logit_softcapping, 30)
    network.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)
    return folder
