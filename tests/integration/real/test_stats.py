"""Figures of a real Debian guest in QEMU: what is done in it is seen in them.

The guest's image is that of scripts/guest-image; scripts/test names it in VMCONTROLLER_TEST_IMAGE.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import libvirt
import psutil
from twisted.trial.unittest import SynchronousTestCase

from tests.integration.daemon import DEADLINE_S, Daemon, until

VM = "vmctest-E figures"
CONFIG = "guests: {gc_grace: 60, stop_timeout: 120}\nstats: {interval: 1, keep: 30}\n"

_running: list[Daemon] = []


def image_dir() -> Path:
    return Path(os.environ["VMCONTROLLER_TEST_IMAGE"])


def running() -> Daemon:
    """Return one daemon with one guest that is up, for all tests of this module."""
    if not _running:
        daemon = Daemon("libvirt", config=CONFIG).start()
        atexit.register(daemon.stop)
        _running.append(daemon)
        disk = daemon.dir / "guest.qcow2"
        shutil.copyfile(image_dir() / "disk.qcow2", disk)
        daemon.api.createVM(VM, str(disk), {"vcpus": 1})
        daemon.api.start(VM)
        daemon.api.ping(VM, DEADLINE_S)
    return _running[0]


def qemu_of(vm: str) -> psutil.Process:
    """Return the process that runs a VM."""
    return next(
        process
        for process in psutil.process_iter(["cmdline"])
        if f"guest={vm},debug-threads=on" in (process.info["cmdline"] or ())
    )


class RealStatsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.daemon = running()
        self.api = self.daemon.api

    def series(self, name: str) -> list[float]:
        """Return the values of a figure in its unit, the oldest first."""
        for figure in self.api.getStats(VM, name):
            return [value / figure["scale"] for value in figure["values"]]
        return []

    def newest(self, name: str) -> float:
        return until(lambda: self.series(name), f"there is a figure {name}")[-1]

    def test_all_figures(self) -> None:
        """The hypervisor's and the guest's are there, of the objects that they are about."""
        until(lambda: self.series("guest.cpu"), "the guest has said two beacons")
        figures: dict[str, Any] = {each["name"]: each for each in self.api.getStats(VM)}
        for name in (
            *("cpu.time", "vcpu.0.time", "memory.total", "memory.used", "memory.available"),
            *("memory.rss", "balloon.current", "balloon.maximum", "disk.vda.read_bytes"),
            *("disk.vda.write_requests", "disk.vda.read_rate", "net.nic0.rx_bytes"),
            *("net.nic0.tx_rate", "guest.load1", "guest.memory.used", "guest.memory.free"),
            *("guest.disk.total", "guest.disk.free", "guest.processes", "guest.cpu"),
        ):
            figure = figures[name]
            self.assertEqual(figure["object"], "guest" if name.startswith("guest.") else VM)
            self.assertLessEqual(len(figure["values"]), 30)
            self.assertTrue(figure["values_as_string"].startswith("["))
        total_kib = figures["memory.total"]["values"][-1]
        self.assertAlmostEqual(total_kib, figures["guest.memory.total"]["values"][-1], delta=1024)
        self.assertLess(figures["memory.used"]["values"][-1], total_kib)
        recent = {each["name"]: each for each in self.api.getPerformanceData(VM)}
        self.assertEqual(recent.keys(), figures.keys())
        self.assertLessEqual(max(len(each["values"]) for each in recent.values()), 15)

    def test_busy_loop(self) -> None:
        """A busy loop in the guest is seen from inside, and from outside as the host has it.

        It is near 100 % of a processor where the host has one to give; that a busy host hasn't is
        seen by what the kernel says of QEMU in the same seconds.
        """
        until(lambda: self.newest("cpu.time") < 10, "it is idle")
        idle = max(1.0, self.newest("cpu.time"))
        cmd_id = self.api.runCmd(VM, "sh", ["-c", "while :; do :; done"])
        try:
            until(lambda: self.newest("guest.cpu") > 80, "the guest says that it is busy")
            for name in ("cpu.time", "vcpu.0.time"):
                share, true_share = self.shares(name, 8)
                self.assertLess(abs(share - true_share), 15, f"{name}: {share}, {true_share}")
                self.assertGreater(share, 3 * idle, name)
        finally:
            self.api.killCmd(cmd_id, "KILL")
            self.api.waitCmd(cmd_id, DEADLINE_S)
        until(lambda: self.newest("cpu.time") < 30, "it is idle again")

    def shares(self, name: str, for_s: float) -> tuple[float, float]:
        """Return what a figure says of some seconds, and what the kernel says of QEMU meanwhile."""
        qemu = qemu_of(VM)
        first = last = self.point(name)
        used = 0.0
        began_s, before = time.monotonic(), qemu.cpu_times()
        while last[0] < first[0] + for_s:
            before_it = last
            last = until(lambda seen=last: self.next_point(name, seen), "the next value")
            used += last[1] * (last[0] - before_it[0])
        elapsed_s, after = time.monotonic() - began_s, qemu.cpu_times()
        used_s = after.user + after.system - before.user - before.system
        return used / (last[0] - first[0]), 100 * used_s / elapsed_s

    def next_point(self, name: str, seen: tuple[float, float]) -> tuple[float, float] | None:
        now = self.point(name)
        return now if now[0] > seen[0] else None

    def point(self, name: str) -> tuple[float, float]:
        """Return when the newest value of a figure was taken, and the value in its unit."""
        (figure,) = self.api.getStats(VM, name)
        return float(figure["at"]), figure["values"][-1] / figure["scale"]

    def test_copy(self) -> None:
        """A copy into the guest is counted by its NIC, and by its disk once it is written."""
        size = 8 * 2**20
        source = self.daemon.exchange / "big"
        source.write_bytes(os.urandom(size))
        received, written = self.newest("net.nic0.rx_bytes"), self.newest("disk.vda.write_bytes")
        try:
            self.api.cpFileToVM(VM, str(source), "/etc/big")
            self.daemon.run(VM, "sync")
            for name, before in (
                ("net.nic0.rx_bytes", received),
                ("disk.vda.write_bytes", written),
            ):
                until(
                    lambda name=name, before=before: self.newest(name) - before >= size,
                    f"{name} has grown by the file's size",
                )
        finally:
            source.unlink()
            self.daemon.run(VM, "rm", "-f", "/etc/big")

    def test_balloon_of_others(self) -> None:
        """The balloon of a VM that others made, and that nobody counts, is counted from now on."""
        connection = libvirt.open("qemu:///system")
        self.addCleanup(connection.close)
        domain = connection.createXML(
            f"<domain type='qemu'><name>{VM} of others</name><memory unit='MiB'>16</memory>"
            "<os><type arch='x86_64'>hvm</type></os>"
            "<devices><memballoon model='virtio'/></devices></domain>"
        )
        try:
            self.assertNotIn("<stats", domain.XMLDesc(0))
            until(lambda: "<stats period='10'/>" in domain.XMLDesc(0), "it is counted")
        finally:
            domain.destroy()

    def test_stuck_machine(self) -> None:
        """While QEMU is stopped the others' figures go on, and its own come back after it."""
        other = f"{VM} other"
        disk = self.daemon.dir / "other.qcow2"
        shutil.copyfile(image_dir() / "disk.qcow2", disk)
        self.api.createVM(other, str(disk), {"memory": 256})
        self.api.start(other)
        process = qemu_of(other)
        process.send_signal(signal.SIGSTOP)
        try:
            at = self.api.getStats(VM, "memory.rss")[0]["at"]
            until(
                lambda: self.api.getStats(VM, "memory.rss")[0]["at"] > at + 2,
                "figures go on beside a stuck machine",
            )
        finally:
            process.send_signal(signal.SIGCONT)
        until(lambda: self.api.getStats(other, "disk.vda.read_bytes"), "it is counted again")
        self.api.powerOff(other)
        self.api.removeVM(other)
        self.assertEqual(
            until(lambda: self.api.getStats(VM, "cpu*"), "still there")[0]["unit"], "%"
        )
