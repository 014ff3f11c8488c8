"""A real RabbitMQ node: Debian's ``rabbitmq-server``, without the management plugin."""

from __future__ import annotations

import os
import re
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.harness.servers.grounds import Grounds, ServerError, grounds
from tests.harness.servers.process import (
    Process,
    RestartableServer,
    answer,
    require,
    running,
    wait_until,
)

_INSTALL = "apt-get install rabbitmq-server"

#: Debian's commands in /usr/sbin change the user and the folder; these do not.
_BIN = Path("/usr/lib/rabbitmq/bin")

#: By which nodes and commands know each other; nothing secret on a loopback interface.
_COOKIE = "dropscribe-tests"

#: Seconds that a command gets.
_COMMAND = 60.0

#: A string, as ``erl_call`` prints it; it would cut a long binary.
_STRING = re.compile('"([^"]*)"')

#: A client's first bytes, and the first of the server's answer to them: a method frame
#: on channel 0. Anything else is a node that is not ready.
_PROTOCOL = b"AMQP\x00\x00\x09\x01"
_START_FRAME = b"\x01\x00\x00"


@dataclass(frozen=True, slots=True)
class RabbitNode(RestartableServer):
    """A running node.

    Attributes:
        name: Its Erlang name.
        port: For AMQP, on 127.0.0.1; the same after a restart.
        folder: With its configuration, logs and messages; removed at the end.
    """

    name: str
    port: int
    folder: Path
    _process: Process = field(repr=False)

    @property
    def url(self) -> str:
        """Its virtual host ``/``."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    def vhost(self) -> str:
        """Make an empty virtual host, and give its URL."""
        name = f"test-{uuid.uuid4().hex[:12]}"
        self._eval(
            f'ok = rabbit_vhost:add(<<"{name}">>, <<"tests">>), '
            "ok = rabbit_auth_backend_internal:set_permissions("
            f'<<"guest">>, <<"{name}">>, <<".*">>, <<".*">>, <<".*">>, <<"tests">>).'
        )
        return self.url + name

    def queues(self, vhost: str) -> list[str]:
        """List the names of a virtual host's queues."""
        names = f'{{_, _, _, N}} <- rabbit_amqqueue:list_names(<<"{vhost}">>)'
        return _STRING.findall(self._eval(f"[binary_to_list(N) || {names}]."))

    def ctl(self, *arguments: str) -> str:
        """Run ``rabbitmqctl``, which takes half a second, and return its output.

        Raises:
            ServerError: It failed; the message has its output.
        """
        return self._command(str(_BIN / "rabbitmqctl"), "--quiet", *arguments)

    def wait(self) -> None:
        """Wait until it answers a client."""
        wait_until(self._answers, [self._process], f"the start of {self.name}")

    def _answers(self) -> bytes | None:
        start = answer(self.port, _PROTOCOL)
        return start if start and start.startswith(_START_FRAME) else None

    def _eval(self, expression: str) -> str:
        # As ``rabbitmqctl eval``, in milliseconds; part of erlang-base.
        printed = self._command("erl_call", "-n", self.name, "-c", _COOKIE, "-e", given=expression)
        if not printed.startswith("{ok, "):
            raise ServerError(f"{self.name} does not do {expression!r}: {printed}")
        return printed

    def _command(self, *argv: str, given: str = "") -> str:
        try:
            done = subprocess.run(
                argv,
                input=given + "\n",
                env=self._process.environment,
                user=self._process.user,
                group=self._process.user,
                extra_groups=None if self._process.user is None else [],
                cwd=self.folder,
                capture_output=True,
                text=True,
                timeout=_COMMAND,
                check=False,
            )
        except subprocess.TimeoutExpired as exc:
            raise ServerError(f"{' '.join(argv)} took longer than {_COMMAND:.0f} s") from exc
        if done.returncode:
            raise ServerError(f"{' '.join(argv)} failed: {done.stderr or done.stdout}")
        return done.stdout.strip()


@contextmanager
def rabbitmq(
    config: Mapping[str, str | int] | None = None,
    application: Mapping[str, int] | None = None,
) -> Iterator[RabbitNode]:
    """Run a node while the block runs.

    A delivery is held against ``consumer_timeout`` (milliseconds) only once per
    ``channel_tick_interval`` (60,000 ms), so a test of a short one sets both.

    Args:
        config: Lines of ``rabbitmq.conf``, such as ``{"consumer_timeout": 5000, "heartbeat": 2}``.
        application: Settings of the application ``rabbit`` that rabbitmq.conf does not know,
            such as ``{"channel_tick_interval": 500}``.
    """
    require([str(_BIN / "rabbitmq-server"), "epmd", "erl_call"], _INSTALL)
    # Never as root, like Debian's service; its files must then belong to its own user.
    user = "rabbitmq" if os.geteuid() == 0 else None
    with grounds("rabbitmq", ports=3) as place:
        amqp, _, names = place.ports
        node = f"rabbit-{amqp}@localhost"
        _write_folder(place.folder, {"listeners.tcp.1": f"127.0.0.1:{amqp}", **(config or {})})
        place.give_to(user)
        environment = _environment(place, node, application or {})
        # Nodes find each other by this daemon. Were there none, the node would start one
        # that stays for ever; each has its own, so that it ends with it.
        daemon = ["epmd", "-port", str(names), "-address", "127.0.0.1"]
        server = Process(place, [str(_BIN / "rabbitmq-server")], environment, user)
        with running(Process(place, daemon, environment, user)) as epmd:
            wait_until(lambda: answer(names), [epmd], "the start of epmd")
            with running(server):
                started = RabbitNode(node, amqp, place.folder, server)
                started.wait()
                yield started


def _environment(place: Grounds, node: str, application: Mapping[str, int]) -> dict[str, str]:
    _, distribution, names = place.ports
    folder = place.folder
    return {
        **place.environment,
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_PORT": str(names),
        # Writing one takes seconds.
        "ERL_CRASH_DUMP_BYTES": "0",
        # The script then becomes the node, whose id we so know.
        "RUNNING_UNDER_SYSTEMD": "true",
        "RABBITMQ_NODENAME": node,
        "RABBITMQ_DIST_PORT": str(distribution),
        "RABBITMQ_CONF_ENV_FILE": "/dev/null",
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": " ".join(
            ["-kernel inet_dist_use_interface {127,0,0,1}"]
            + [f"-rabbit {name} {value}" for name, value in application.items()]
        ),
    }


def _write_folder(folder: Path, config: Mapping[str, str | int]) -> None:
    lines = [f"{name} = {value}\n" for name, value in config.items()]
    (folder / "rabbitmq.conf").write_text("".join(lines))
    (folder / "enabled_plugins").write_text("[].\n")
    cookie = folder / ".erlang.cookie"
    cookie.write_text(_COOKIE)
    cookie.chmod(0o400)
    for name in ("mnesia", "log"):
        (folder / name).mkdir()
