"""The models: each present and intact, as the control machine sent it."""

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
from ops.observe.health.result import Level, Remark
from ops.wiring.settings import ModelsSettings, ModerationSettings, SpeechSettings

#: The file in each model's folder with the sums of all other files, in sha256sum's format.
SUMS = "SHA256SUMS"

#: The name of a version's folder ends with this many digits of the SHA-256 of its SHA256SUMS.
_DIGITS = 12

_LINE = re.compile(r"(?P<sum>[0-9a-f]{64}) [ *](?P<name>.+)")
_VERSION = re.compile(r".+-(?P<digest>[0-9a-f]{12})")

_CHUNK = 1 << 22

_SYNC = (
    "on the control machine, in ops/ansible: ansible-playbook -i inventories/cluster "
    "sync-models.yml -e gpu_worker_models_verify=full"
)

#: The SHA-256 of an empty file.
_NOTHING = hashlib.sha256(b"").hexdigest()

#: A folder at the top of ext4 file systems, unreadable to users.
_NO_MODELS = "lost+found"


@dataclass(frozen=True, slots=True)
class ChecksummedFile:
    """A file of a model, with its expected SHA-256 in hex."""

    path: Path
    digest: str


def check_models(context: CheckContext) -> Iterator[Remark]:
    """Check that the models in this host's settings exist, and that all models are intact.

    Every file in a model's SHA256SUMS has to exist and must not be empty; with
    ``--full``, its SHA-256 is compared.
    """
    root = ModelsSettings.read(context.environment).models_root
    if (away := _away(context, root)) is not None:
        yield away
        return
    yield from _named(context, root)
    found = list(_search(root, 2))
    yield from (each for each in found if isinstance(each, Remark))
    folders = [each for each in found if isinstance(each, Path)]
    files: list[ChecksummedFile] = []
    for folder in folders:
        try:
            listed = read_sums(folder)
        except (OSError, ValueError) as exc:
            yield _broken(f"{folder.name}: {exc}")
            continue
        yield from _presence(folder, listed)
        files += listed
    if context.is_full:
        yield from _verified(context, files)
    figures = {"models": len(folders), "files": len(files), "verified": context.is_full}
    how = "and compared" if context.is_full else "(--full compares their SHA-256)"
    said = f"{len(folders)} in {root}, {len(files)} files present {how}"
    yield Remark(Level.OK, said, figures=figures)


def _broken(what: str) -> Remark:
    return Remark(Level.CRITICAL, what, _SYNC)


def _away(context: CheckContext, root: Path) -> Remark | None:
    """Check the folder of models; the default folder may be missing."""
    if root.is_dir():
        return None if _is_open(root) else _closed(root)
    if context.environment.get("MODELS_ROOT") is None and not root.exists():
        return None
    is_there = "is not a folder" if root.exists() else "does not exist"
    what_to_do = f"findmnt --target {shlex.quote(str(root))}; {_SYNC}"
    return Remark(Level.CRITICAL, f"MODELS_ROOT={root} {is_there}", what_to_do)


def _search(folder: Path, depth: int) -> Iterator[Path | Remark]:
    """Find all models with sums; alignment models lie one folder deeper.

    Hidden folders hold versions, to which links lead, and incomplete transfers.
    """
    entries = sorted(folder.iterdir()) if folder.is_dir() else []
    for entry in entries:
        if entry.name.startswith(".") or entry.name == _NO_MODELS:
            continue
        if entry.is_symlink() and not entry.exists():
            yield _broken(f"{entry} is a broken link")
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
        f"{folder} is unreadable for this user",
        f"ls -ld {shlex.quote(str(folder))}; {_SYNC}",
    )


def _named(context: CheckContext, root: Path) -> Iterator[Remark]:
    """Check the models that consumers on this host would load."""
    environment = context.environment
    if environment.get("WHISPER_MODEL"):
        yield from _whisper(SpeechSettings.read(environment).model, root)
    settings = ModerationSettings.read(environment)
    if settings.policies_root is None or settings.endpoint is not None:
        return
    for variable, name in (("POLICY_MODEL", settings.model), ("POLICY_ADAPTER", settings.adapter)):
        if name is not None and not (root / name).is_dir():
            yield _broken(f"{variable}={name} does not exist in {root}")


def _whisper(model: str, root: Path) -> Iterator[Remark]:
    try:
        weights = find_whisper(model, root)
    except SpeechSetupError as exc:
        yield _broken(str(exc))
        return
    if not weights.is_local:
        what = f"WHISPER_MODEL={model} is not in {root}: its consumer would download it"
        yield Remark(Level.WARNING, what, _SYNC)
    elif model != PACKAGED and not Path(weights.source, SUMS).is_file():
        what = f"WHISPER_MODEL={model} has no {SUMS}, so it cannot be verified"
        yield Remark(Level.WARNING, what, _SYNC)


def read_sums(folder: Path) -> list[ChecksummedFile]:
    """Read the list of files in a model's folder.

    Raises:
        OSError: SHA256SUMS is unreadable.
        ValueError: A line is not in sha256sum's format or leads out of the folder, or
            the folder is named after another SHA256SUMS.
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
        raise ValueError(f"{SUMS} has a line that is not in sha256sum's format")
    name = Path(match["name"])
    if name.is_absolute() or ".." in name.parts:
        raise ValueError(f"{SUMS} names a file outside of the folder")
    return ChecksummedFile(folder / name, match["sum"])


def _presence(folder: Path, files: list[ChecksummedFile]) -> Iterator[Remark]:
    if not files:
        yield _broken(f"{folder.name}: its {SUMS} names no file")
    for listed in files:
        name = f"{folder.name}/{listed.path.relative_to(folder)}"
        if not listed.path.is_file():
            yield _broken(f"{name} is missing")
        elif not listed.path.stat().st_size and listed.digest != _NOTHING:
            yield _broken(f"{name} is empty")


def _verified(context: CheckContext, files: list[ChecksummedFile]) -> Iterator[Remark]:
    there = [listed for listed in files if listed.path.is_file()]
    context.bar.start(sum(listed.path.stat().st_size for listed in there))
    for listed in there:
        try:
            found = _digest(context, listed.path)
        except OSError as exc:
            yield _broken(f"{listed.path}: {exc.strerror}")
            continue
        if found != listed.digest:
            yield _broken(f"{listed.path} was altered: its SHA-256 differs")


def _digest(context: CheckContext, path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            context.bar.advance(len(chunk))
    return digest.hexdigest()
