"""The models: that each is there, whole, and what the control machine sent."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from consumers.speech.weights import PACKAGED, SpeechSetupError, find_whisper
from ops.observe.health.context import CheckContext
from ops.observe.health.result import CheckResult, Level, Remark, combined
from ops.wiring.settings import ModelsSettings, ModerationSettings, SpeechSettings

#: In each model's folder: the sums of all files but itself, as sha256sum writes them.
SUMS = "SHA256SUMS"

#: A version's folder ends with so many digits of its SHA256SUMS' own sum.
_DIGITS = 12

_LINE = re.compile(r"(?P<sum>[0-9a-f]{64}) [ *](?P<name>.+)")
_VERSION = re.compile(r".+-(?P<digest>[0-9a-f]{12})")

_CHUNK = 1 << 22

_SYNC = (
    "on the control machine, in ops/ansible: ansible-playbook -i inventories/cluster "
    "sync-models.yml -e gpu_worker_models_verify=full"
)

#: Of no bytes: the sum of a file that is to be empty.
_NOTHING = hashlib.sha256(b"").hexdigest()

#: What a filesystem of its own has at its top, and keeps closed.
_NO_MODELS = "lost+found"


@dataclass(frozen=True, slots=True)
class ChecksummedFile:
    """A file of a model.

    Attributes:
        path: Where it is.
        digest: Its SHA-256, in hexadecimal digits.
    """

    path: Path
    digest: str


def look_at_models(context: CheckContext) -> CheckResult:
    """See whether the models that this host's settings name are there, and all others are whole.

    Every file that a model's SHA256SUMS names has to be there and to hold something;
    with ``--full`` each is read to its end.
    """
    root = ModelsSettings.read(context.environment).models_root
    if (away := _away(context, root)) is not None:
        return combined("models", [away], "")
    remarks = [*_named(context, root)]
    folders = []
    for each in _search(root, 2):
        if isinstance(each, Remark):
            remarks.append(each)
        else:
            folders.append(each)
    files: list[ChecksummedFile] = []
    for folder in folders:
        try:
            listed = read_sums(folder)
        except (OSError, ValueError) as exc:
            remarks.append(Remark(Level.CRITICAL, f"{folder.name}: {exc}", _SYNC))
            continue
        remarks += _presence(folder, listed)
        files += listed
    if context.is_full:
        remarks += _verified(context, files)
    figures = {"models": len(folders), "files": len(files), "verified": context.is_full}
    how = "and read" if context.is_full else "(--full reads them)"
    said = f"{len(folders)} in {root}, {len(files)} files are there {how}"
    return combined("models", remarks, said, figures)


def _away(context: CheckContext, root: Path) -> Remark | None:
    """See whether there is a folder of models at all; the default one need not be there."""
    if not root.is_dir():
        if context.environment.get("MODELS_ROOT") is None and not root.exists():
            return None
        is_there = "is no folder" if root.exists() else "is not there"
        what_to_do = f"findmnt --target {shlex.quote(str(root))}; {_SYNC}"
        return Remark(Level.CRITICAL, f"MODELS_ROOT={root} {is_there}", what_to_do)
    return None if _is_open(root) else _closed(root)


def _search(folder: Path, depth: int) -> Iterator[Path | Remark]:
    """Find all models that came with sums: those of alignment lie a folder deeper.

    What is hidden are the versions that these lead to, and what was not sent to its end.
    """
    entries = sorted(folder.iterdir()) if folder.is_dir() else []
    for entry in entries:
        if entry.name.startswith(".") or entry.name == _NO_MODELS:
            continue
        if entry.is_symlink() and not entry.exists():
            yield Remark(Level.CRITICAL, f"{entry} leads to what is not there", _SYNC)
        elif entry.is_dir() and not _is_open(entry):
            yield _closed(entry)
        elif (entry / SUMS).is_file():
            yield entry
        elif entry.is_dir() and depth > 1:
            yield from _search(entry, depth - 1)


def _is_open(folder: Path) -> bool:
    return os.access(folder, os.R_OK | os.X_OK)


def _closed(folder: Path) -> Remark:
    return Remark(
        Level.CRITICAL,
        f"{folder} can't be read by this user",
        f"ls -ld {shlex.quote(str(folder))}; {_SYNC}",
    )


def _named(context: CheckContext, root: Path) -> Iterator[Remark]:
    """Look for the models that consumers of this host would load."""
    environment = context.environment
    if environment.get("WHISPER_MODEL"):
        yield from _whisper(SpeechSettings.read(environment).model, root)
    settings = ModerationSettings.read(environment)
    if settings.policies_root is None or settings.endpoint is not None:
        return
    for variable, name in (("POLICY_MODEL", settings.model), ("POLICY_ADAPTER", settings.adapter)):
        if name is not None and not (root / name).is_dir():
            yield Remark(Level.CRITICAL, f"{variable}={name} is not in {root}", _SYNC)


def _whisper(model: str, root: Path) -> Iterator[Remark]:
    try:
        weights = find_whisper(model, root)
    except SpeechSetupError as exc:
        yield Remark(Level.CRITICAL, str(exc), _SYNC)
        return
    if not weights.is_local:
        yield Remark(
            Level.WARNING,
            f"WHISPER_MODEL={model} is not in {root}: its consumer would download it",
            _SYNC,
        )
    elif model != PACKAGED and not Path(weights.source, SUMS).is_file():
        yield Remark(
            Level.WARNING, f"WHISPER_MODEL={model} has no {SUMS}: nobody can say it is whole", _SYNC
        )


def read_sums(folder: Path) -> list[ChecksummedFile]:
    """Read what a model's folder is to hold.

    Raises:
        OSError: It can't be read.
        ValueError: It is not as sha256sum writes it, leads out of the folder, or is not
            the one that the folder is named by.
    """
    content = (folder / SUMS).read_bytes()
    named = _VERSION.fullmatch(folder.resolve().name)
    in_versions = folder.resolve().parent.name == ".versions"
    digest = hashlib.sha256(content).hexdigest()[:_DIGITS]
    if in_versions and named is not None and named["digest"] != digest:
        raise ValueError(f"its {SUMS} is not that of version {named['digest']}")
    return [_listed(folder, line) for line in content.decode().splitlines() if line]


def _listed(folder: Path, line: str) -> ChecksummedFile:
    match = _LINE.fullmatch(line)
    if match is None:
        raise ValueError(f"{SUMS} holds a line that is not sha256sum's")
    name = Path(match["name"])
    if name.is_absolute() or ".." in name.parts:
        raise ValueError(f"{SUMS} names a file outside of the folder")
    return ChecksummedFile(folder / name, match["sum"])


def _presence(folder: Path, files: list[ChecksummedFile]) -> Iterator[Remark]:
    if not files:
        yield Remark(Level.CRITICAL, f"{folder.name}: its {SUMS} names no file", _SYNC)
    for listed in files:
        name = f"{folder.name}/{listed.path.relative_to(folder)}"
        if not listed.path.is_file():
            yield Remark(Level.CRITICAL, f"{name} is not there", _SYNC)
        elif not listed.path.stat().st_size and listed.digest != _NOTHING:
            yield Remark(Level.CRITICAL, f"{name} is empty", _SYNC)


def _verified(context: CheckContext, files: list[ChecksummedFile]) -> Iterator[Remark]:
    there = [listed for listed in files if listed.path.is_file()]
    context.bar.start(sum(listed.path.stat().st_size for listed in there))
    for listed in there:
        try:
            found = _digest(context, listed.path)
        except OSError as exc:
            yield Remark(Level.CRITICAL, f"{listed.path}: {exc.strerror}", _SYNC)
            continue
        if found != listed.digest:
            yield Remark(
                Level.CRITICAL, f"{listed.path} was altered: its SHA-256 is another", _SYNC
            )


def _digest(context: CheckContext, path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            context.bar.advance(len(chunk))
    return digest.hexdigest()
