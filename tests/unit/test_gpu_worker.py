"""What the role gpu_worker decides on a host, without a host."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

_LIBRARY = Path(__file__).parents[2] / "ops/ansible/roles/gpu_worker/library"


def _load(name: str) -> ModuleType:
    """Import an Ansible module, which is in no package."""
    spec = importlib.util.spec_from_file_location(f"ansible_module_{name}", _LIBRARY / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


gpus = _load("gpus")
model_sums = _load("model_sums")
model_version = _load("model_version")

SMI = "0, NVIDIA L4, 535.183.01, 23034\n1, NVIDIA L4, 535.183.01, 23034\n"
NODES = {"nvidiactl", "nvidia0", "nvidia1", "nvidia-uvm"}


def test_gpus_that_will_do_have_no_faults() -> None:
    found = gpus.parse(SMI)

    assert gpus.faults(found, NODES, driver_minimum="525.60.13", memory_mib=10_000) == []


@pytest.mark.parametrize(
    ("lines", "nodes", "fault"),
    [
        ("", NODES, "finds no GPU"),
        ("0, Tesla T4, 470.256.02, 15360\n", NODES, "the driver is 470.256.02"),
        ("0, NVIDIA T400, 535.183.01, 2048\n", NODES, "2048 MiB of memory"),
        (SMI, {"nvidiactl", "nvidia0"}, "/dev/nvidia1 is missing"),
    ],
)
def test_gpu_faults_are_reported(lines: str, nodes: set[str], fault: str) -> None:
    (said,) = gpus.faults(gpus.parse(lines), nodes, driver_minimum="525.60.13", memory_mib=10_000)

    assert fault in said


def test_checksums_match_sha256sum_and_only_changes_are_hashed(tmp_path: Path) -> None:
    folder = tmp_path / "models/align/en"
    (folder / ".cache").mkdir(parents=True)
    (folder / ".cache/lock").touch()
    (folder / "b.bin").write_bytes(b"b")
    (folder / "a.bin").write_bytes(b"a")

    first = model_sums.take(tmp_path / "models", "align/en", tmp_path / "cache")

    a, b = (hashlib.sha256(each).hexdigest() for each in (b"a", b"b"))
    assert first.sums == f"{a}  a.bin\n{b}  b.bin\n"
    assert first.digest == hashlib.sha256(first.sums.encode()).hexdigest()[:12]
    assert first.bytes == 2
    assert model_sums.take(tmp_path / "models", "align/en", tmp_path / "cache") == first
    (folder / "a.bin").write_bytes(b"A")
    assert model_sums.take(tmp_path / "models", "align/en", tmp_path / "cache") != first


@pytest.mark.parametrize("name", ["", ".versions", "../large-v3", "/etc", "a//b", "a b", "a/.b"])
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(model_sums.ModelSourceError):
        model_sums.take(tmp_path, name, tmp_path / "cache")


def test_a_version_is_switched_by_renaming_a_link(tmp_path: Path) -> None:
    old, new = _version(tmp_path, b"old"), _version(tmp_path, b"new")
    for version, content in ((old, b"old"), (new, b"new")):
        todo = model_version.prepare(version, 3, full=False, dry=False)
        assert todo.send == ["model.bin"]
        (version.incoming / "model.bin").write_bytes(content)

        assert model_version.install(version, todo.files, dry=False)

        assert (tmp_path / "align/en/model.bin").read_bytes() == content
        assert not model_version.prepare(version, 3, full=True, dry=False).files
        assert not model_version.install(version, [], dry=False)
    # Going back sends nothing.
    assert not model_version.prepare(old, 3, full=False, dry=False).files
    assert model_version.install(old, [], dry=False)
    assert (tmp_path / "align/en/model.bin").read_bytes() == b"old"


def test_damaged_files_are_not_installed_and_sent_again(tmp_path: Path) -> None:
    version = _version(tmp_path, b"good")
    todo = model_version.prepare(version, 4, full=False, dry=False)
    (version.incoming / "model.bin").write_bytes(b"bad!")

    with pytest.raises(model_version.ModelInstallError, match=r"model\.bin arrived damaged"):
        model_version.install(version, todo.files, dry=False)

    assert not version.link.exists()
    assert model_version.prepare(version, 4, full=False, dry=False).send == ["model.bin"]


def test_a_model_that_does_not_fit_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    version = _version(tmp_path, b"large")

    with pytest.raises(model_version.ModelInstallError, match="enlarge the volume"):
        model_version.prepare(version, 1 << 60, full=False, dry=False)


def _version(root: Path, content: bytes) -> model_version.Version:  # type: ignore[name-defined]
    sums = f"{hashlib.sha256(content).hexdigest()}  model.bin\n"
    return model_version.Version(root, "align/en", sums)
