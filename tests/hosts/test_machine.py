"""What the other tests here take for granted of their hosts."""

from __future__ import annotations

from tests.hosts.machine import Debian, machine


def test_a_fresh_host_runs_and_comes_back_from_a_restart_and_from_a_cut_of_its_power(
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
