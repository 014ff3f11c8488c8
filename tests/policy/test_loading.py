"""What is wrong with a model's folders is said with what to do about it."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from consumers.errors import ConfigurationError
from consumers.policy.in_process import CopeJudge, load_judge
from tests.policy.tiny import POLICY, tiny_adapter, tiny_gemma


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing reaches out, be it in vain."""
    reached: list[object] = []

    def reach(*address: object, **_: object) -> None:
        reached.append(address)
        raise OSError("there is no network")

    monkeypatch.setattr(socket.socket, "connect", reach)
    monkeypatch.setattr(socket, "getaddrinfo", reach)
    yield
    assert reached == []


@pytest.fixture
def folders(base: Path, adapter: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Copies of base and adapter, to spoil."""
    return (
        shutil.copytree(base, tmp_path / "gemma-2-9b"),
        shutil.copytree(adapter, tmp_path / "cope-a-9b"),
    )


def load(model: Path, adapter: Path | None, **changes: object) -> CopeJudge:
    options: dict[str, object] = {
        "device": "cpu",
        "quantisation": "none",
        "batch_size": 4,
        "context": 8192,
    }
    return load_judge(model=model, adapter=adapter, **{**options, **changes})  # type: ignore[arg-type]


def test_a_model_in_several_files_is_read(folders: tuple[Path, Path]) -> None:
    base, adapter = folders
    expected = load(base, adapter).scores(POLICY, ["a", "b"])
    split_in_two(base)
    assert load(base, adapter).scores(POLICY, ["a", "b"]) == expected


def split_in_two(base: Path) -> None:
    tensors = sorted(load_file(base / "model.safetensors").items())
    (base / "model.safetensors").unlink()
    parts = {"model-1-of-2.safetensors": tensors[::2], "model-2-of-2.safetensors": tensors[1::2]}
    for name, part in parts.items():
        save_file(dict(part), base / name, metadata={"format": "pt"})
    index = {
        "metadata": {},
        "weight_map": {t: name for name, part in parts.items() for t, _ in part},
    }
    (base / "model.safetensors.index.json").write_text(json.dumps(index))


def test_an_adapter_that_names_its_base_as_the_hub_does(folders: tuple[Path, Path]) -> None:
    base, adapter = folders
    expected = load(base, adapter).scores(POLICY, ["a", "b"])
    config = json.loads((adapter / "adapter_config.json").read_bytes())
    config["base_model_name_or_path"] = "google/gemma-2-9b"
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    assert load(base, adapter).scores(POLICY, ["a", "b"]) == expected


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path / "gemma-2-9b", None)
    assert "POLICY_MODEL" in str(caught.value)
    assert f"hf download google/gemma-2-9b --local-dir {tmp_path / 'gemma-2-9b'}" in str(
        caught.value
    )


def test_an_adapter_that_is_not_there(base: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="POLICY_ADAPTER") as caught:
        load(base, tmp_path / "cope-a-9b")
    assert "hf download zentropi-ai/cope-a-9b --local-dir" in str(caught.value)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_model_without_a_file(folders: tuple[Path, Path], name: str) -> None:
    base, adapter = folders
    (base / name).unlink()
    with pytest.raises(ConfigurationError, match=f"incomplete, without {name}"):
        load(base, adapter)


def test_a_model_without_one_of_its_parts(folders: tuple[Path, Path]) -> None:
    base, adapter = folders
    split_in_two(base)
    (base / "model-2-of-2.safetensors").unlink()
    with pytest.raises(ConfigurationError, match=r"without model-2-of-2\.safetensors"):
        load(base, adapter)


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_an_adapter_without_a_file(folders: tuple[Path, Path], name: str) -> None:
    base, adapter = folders
    (adapter / name).unlink()
    with pytest.raises(ConfigurationError, match=f"incomplete, without {name}"):
        load(base, adapter)


def test_pickles_are_not_opened(folders: tuple[Path, Path]) -> None:
    base, adapter = folders
    torch.save(load_file(base / "model.safetensors"), base / "pytorch_model.bin")
    (base / "model.safetensors").unlink()
    with pytest.raises(ConfigurationError, match=r"without model\.safetensors"):
        load(base, adapter)


def test_weights_that_break_off(folders: tuple[Path, Path]) -> None:
    base, adapter = folders
    weights = base / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(ConfigurationError, match=r"POLICY_MODEL.* cannot be loaded on cpu"):
        load(base, adapter)


def test_an_adapter_for_a_base_with_fewer_layers(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    """Whatever has no place in the base would be left out without a word."""
    _, adapter = folders
    shallow = tiny_gemma(tmp_path / "gemma-2-2b", layers=2)
    with pytest.raises(ConfigurationError, match="for another base"):
        load(shallow, adapter)


def test_an_adapter_for_a_base_with_more_layers(folders: tuple[Path, Path], tmp_path: Path) -> None:
    base, _ = folders
    shallow = tiny_adapter(tmp_path / "shallow", tiny_gemma(tmp_path / "gemma-2-2b", layers=2))
    with pytest.raises(ConfigurationError, match="for another base"):
        load(base, shallow)


def test_an_adapter_for_a_base_of_another_width(folders: tuple[Path, Path]) -> None:
    base, adapter = folders
    weights = load_file(adapter / "adapter_model.safetensors")
    narrow = {name: tensor[:, :3].contiguous() for name, tensor in weights.items()}
    save_file(narrow, adapter / "adapter_model.safetensors")
    with pytest.raises(ConfigurationError, match=r"POLICY_ADAPTER"):
        load(base, adapter)


def test_an_adapter_of_another_kind(folders: tuple[Path, Path]) -> None:
    base, adapter = folders
    config = json.loads((adapter / "adapter_config.json").read_bytes())
    (adapter / "adapter_config.json").write_text(json.dumps({**config, "peft_type": "IA3"}))
    with pytest.raises(ConfigurationError, match="'IA3', not LORA"):
        load(base, adapter)


def test_a_model_without_a_token_for_an_answer(folders: tuple[Path, Path]) -> None:
    base, adapter = folders
    tokenizer = json.loads((base / "tokenizer.json").read_bytes())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["one"] = vocabulary.pop("1")
    tokenizer["model"]["merges"] = []
    (base / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(ConfigurationError, match="no token of its own for the answer '1'"):
        load(base, adapter)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"device": "tpu"}, "POLICY_DEVICE must be auto, cpu or cuda"),
        ({"quantisation": "2bit"}, "POLICY_QUANTISATION must be none, 8bit or 4bit"),
        ({"context": 8193}, "POLICY_CONTEXT is 8193, but the model gemma-2-9b takes 8192"),
    ],
)
def test_an_invalid_setting(
    folders: tuple[Path, Path], change: dict[str, object], message: str
) -> None:
    base, adapter = folders
    with pytest.raises(ConfigurationError, match=message):
        load(base, adapter, **change)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(folders: tuple[Path, Path]) -> None:
    with pytest.raises(ConfigurationError, match="PyTorch sees no GPU"):
        load(*folders, device="cuda")


def test_loading_prints_nothing(folders: tuple[Path, Path]) -> None:
    """Standard output belongs to commands with --json, and logs have a form."""
    program = (
        "import sys; from pathlib import Path; from consumers.policy.in_process import load_judge\n"
        "judge = load_judge(model=Path(sys.argv[1]), adapter=Path(sys.argv[2]), device='cpu',"
        " quantisation='none', batch_size=2, context=512)\n"
        "assert len(judge.scores('P', ['a', 'b', 'c'])) == 3"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *folders], capture_output=True, text=True, check=True
    )
    assert done.stdout == ""
    assert done.stderr == ""


def test_a_package_that_is_not_installed(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(ConfigurationError, match=r"needs bitsandbytes.*the extra policy"):
        load(*folders, quantisation="8bit")
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ConfigurationError, match=r"the extra policy.*POLICY_ENDPOINT"):
        load(*folders)


def test_an_adapter_of_the_output_layer_cannot_stay_beside_it(
    judging: tuple[Path, Path], tmp_path: Path
) -> None:
    base, _ = judging
    adapter = tiny_adapter(tmp_path / "head", base, projections=["lm_head"])
    with pytest.raises(ConfigurationError, match="POLICY_QUANTISATION to none"):
        load(base, adapter, quantisation="8bit")
    assert load(base, adapter).scores(POLICY, ["a"]) != load(base, None).scores(POLICY, ["a"])
