"""Properties of hosts on which the other tests here rely."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests.hosts.machine import Debian, machine

#: Starts a unit again and again, which runs one program after the other and is over at once.
_SAME_UNIT = """
cat >/etc/systemd/system/same.service <<end
[Unit]
StartLimitIntervalSec=0
[Service]
Type=oneshot
ExecStart=true
ExecStart=true
end
systemctl daemon-reload
for round in $(seq 150); do systemctl start same.service || exit 1; done
"""


def test_a_host_survives_a_restart_and_a_power_cut(
    base: Debian,
) -> None:
    with machine(base, "fresh", "127.0.1.31") as host:
        boots = [host.run("cat /proc/sys/kernel/random/boot_id; cat /proc/1/stat")]
        assert host.run("systemctl is-system-running --wait").out == "running\n"
        assert host.run("hostname").out == "fresh\n"
        assert host.run("false", check=False).code == 1
        host.run("echo kept > /root/note && sync")
        host.reboot()
        boots.append(host.run("cat /proc/sys/kernel/random/boot_id; cat /proc/1/stat"))
        host.kill()
        host.start()
        boots.append(host.run("cat /proc/sys/kernel/random/boot_id; cat /proc/1/stat"))
        assert host.run("cat /root/note").out == "kept\n"
        # Each time it is another process that is the host's first.
        assert len({boot.out for boot in boots}) == 3


def test_hosts_do_not_share_what_belongs_to_units_of_the_same_name(base: Debian) -> None:
    with machine(base, "here", "127.0.1.31") as here, machine(base, "there", "127.0.1.32") as there:
        with ThreadPoolExecutor() as side_by_side:
            both = side_by_side.map(lambda host: host.run(_SAME_UNIT), (here, there))
            assert [result.error for result in both] == ["", ""]
        for host in (here, there):
            journal = host.run("journalctl --no-pager --unit same.service").out
            assert "Failed to" not in journal
