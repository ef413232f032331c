"""A real Debian guest in QEMU, from createVM to removeVM, over XML-RPC of a real daemon.

The guest's image is that of scripts/guest-image; scripts/test names it in VMCONTROLLER_TEST_IMAGE.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import subprocess
import xmlrpc.client
from pathlib import Path

import psutil
from twisted.trial.unittest import SynchronousTestCase

from tests.integration.daemon import DEADLINE_S, Daemon, until
from tests.integration.guest_contract import GuestTests
from tests.integration.work_contract import WorkContract

VM = "vmctest <ü&'\">"
"""A name that XML, shells and paths would all like to misunderstand."""

_running: list[Daemon] = []


def image_dir() -> Path:
    return Path(os.environ["VMCONTROLLER_TEST_IMAGE"])


def running() -> Daemon:
    """Return one daemon for all tests of this module."""
    if not _running:
        daemon = Daemon("libvirt", config="guests: {gc_grace: 60, stop_timeout: 120}\n").start()
        atexit.register(daemon.stop)
        _running.append(daemon)
    return _running[0]


def disk(name: str) -> Path:
    """Return a disk of its own for a VM."""
    path = running().dir / name
    shutil.copyfile(image_dir() / "disk.qcow2", path)
    return path


def started(vm: str) -> None:
    """Make and boot a VM once, on a disk that boots by itself."""
    api = running().api
    if vm not in api.listVMs():
        api.createVM(vm, str(disk("guest.qcow2")))
    if api.getState(vm) != "Running":
        api.start(vm)
    api.ping(vm, DEADLINE_S)


def qemu_of(vm: str) -> psutil.Process:
    """Return the process that runs a VM."""
    return next(
        process
        for process in psutil.process_iter(["cmdline"])
        if f"guest={vm},debug-threads=on" in (process.info["cmdline"] or ())
    )


class RealGuestTests(GuestTests, WorkContract, SynchronousTestCase):
    """All that a guest must do, on a real one."""

    def setUp(self) -> None:
        started(VM)
        self.daemon = running()
        self.vm = VM
        self.scratch = "/tmp"

    def test_it_is_a_machine(self) -> None:
        """What answers is another kernel, on another disk, with the UUID of the VM."""
        uname = self.daemon.run(VM, "uname", "-r")["out"]
        self.assertNotEqual(uname.strip(), os.uname().release)
        self.assertIn("virt", self.daemon.run(VM, "ls", "/sys/bus/virtio/drivers")["out"])
        self.assertIn("ID=debian", self.daemon.run(VM, "cat", "/etc/os-release")["out"])
        self.assertIn(f"agent {self.daemon.api.version()}", self.daemon.log.read_text())

    def test_disk_full(self) -> None:
        """A copy that does not fit ends with a Fault; nothing of it remains in the guest."""
        big = self.daemon.exchange / "big"
        with big.open("wb") as file:
            file.truncate(4 * 2**20)
        self.daemon.run(VM, "mkdir", "-p", "/run/small")
        self.daemon.run(VM, "mount", "-t", "tmpfs", "-o", "size=1m", "none", "/run/small")
        try:
            error = self.assertRaises(
                xmlrpc.client.Fault,
                self.daemon.api.cpFileToVM,
                VM,
                str(big),
                "/run/small/big",
            )
            self.assertIn("DISK_FULL", error.faultString)
            self.assertEqual(self.daemon.run(VM, "ls", "-A", "/run/small")["out"], "")
        finally:
            self.daemon.run(VM, "umount", "/run/small")
            big.unlink()

    def test_agent_killed(self) -> None:
        """A killed agent comes back by itself; the command it ran is lost, and says why."""
        api = self.daemon.api
        cmd_id = api.runCmd(VM, "sleep", ["4711"])
        api.runCmd(VM, "sh", ["-c", "sleep 1; kill -KILL $PPID"])
        result = api.waitCmd(cmd_id, DEADLINE_S)
        self.assertEqual(result["state"], "lost")
        self.assertIn("agent", result["error"])
        self.assertEqual(api.ping(VM, DEADLINE_S), f"PONG from {VM}")


class RealLifecycleTests(SynchronousTestCase):
    """The VM itself: its beginning, its ends, and what is refused."""

    def setUp(self) -> None:
        self.daemon = running()
        self.api = self.daemon.api

    def fault(self, name: str, method: str, *arguments: object) -> str:
        error = self.assertRaises(xmlrpc.client.Fault, getattr(self.api, method), *arguments)
        self.assertTrue(error.faultString.startswith(f"{name}: "), error.faultString)
        return error.faultString

    def test_guest_killed(self) -> None:
        """A guest whose QEMU is killed is Aborted, its command is lost; it starts again."""
        started(VM)
        cmd_id = self.api.runCmd(VM, "sleep", ["4711"])
        qemu_of(VM).kill()
        result = self.api.waitCmd(cmd_id, DEADLINE_S)
        self.assertEqual(result["state"], "lost")
        self.assertEqual(self.api.getState(VM), "Aborted")
        self.fault("GUEST_UNREACHABLE", "ping", VM, 1)
        self.fault("GUEST_UNREACHABLE", "runCmd", VM, "true")
        started(VM)

    def test_daemon_killed(self) -> None:
        """The guest outlives the daemon, and its agent finds the next one."""
        started(VM)
        process = qemu_of(VM)
        port = self.broker_port()
        self.daemon.kill()
        text = self.daemon.config.read_text().replace(
            "broker: {port: 0}", f"broker: {{port: {port}}}"
        )
        self.daemon.config.write_text(text)
        self.daemon.start()
        self.api = self.daemon.api
        self.assertEqual(self.api.getState(VM), "Running")
        self.assertEqual(self.api.ping(VM, DEADLINE_S), f"PONG from {VM}")
        self.assertTrue(process.is_running())

    def broker_port(self) -> int:
        told = subprocess.run(
            ["virsh", "-c", "qemu:///system", "dumpxml", VM],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        entry = told.split("vmcontroller.broker=")[1].split("<")[0]
        return int(entry.rpartition(":")[2])

    def test_reset(self) -> None:
        """A reset guest boots again, and its agent says HELLO again."""
        started(VM)
        before = self.daemon.run(VM, "cat", "/proc/sys/kernel/random/boot_id")["out"]
        self.api.reset(VM)
        self.api.ping(VM, DEADLINE_S)
        after = self.daemon.run(VM, "cat", "/proc/sys/kernel/random/boot_id")["out"]
        self.assertNotEqual(before, after)

    def test_shutdown_start_power_off(self) -> None:
        """A guest that is asked to shut down is off when the call answers; and starts again."""
        started(VM)
        self.api.shutdown(VM)
        self.assertEqual(self.api.getState(VM), "PoweredOff")
        for method in ("shutdown", "powerOff", "pause", "resume", "reset"):
            self.assertIn("PoweredOff", self.fault("INVALID_STATE", method, VM))
        self.api.start(VM)
        self.api.powerOff(VM)
        self.assertEqual(self.api.getState(VM), "PoweredOff")

    def test_kernel_instead_of_a_boot_disk(self) -> None:
        """A kernel and an initrd of the host boot a disk that need not boot by itself."""
        options = {
            "kernel": str(self.readable("vmlinuz")),
            "initrd": str(self.readable("initrd.img")),
            "cmdline": (image_dir() / "cmdline").read_text().strip(),
            "memory": 384,
        }
        self.api.createVM("vmctest kernel", str(disk("kernel.qcow2")), options)
        try:
            self.api.start("vmctest kernel")
            self.api.ping("vmctest kernel", DEADLINE_S)
            told = self.daemon.run("vmctest kernel", "cat", "/proc/cmdline")["out"]
            self.assertEqual(told.strip(), options["cmdline"])
        finally:
            self.api.powerOff("vmctest kernel")
            self.api.removeVM("vmctest kernel")

    def readable(self, name: str) -> Path:
        path = self.daemon.dir / name
        shutil.copyfile(image_dir() / name, path)
        path.chmod(0o644)
        return path

    def test_vmdk_and_raw(self) -> None:
        """Disks of the other formats boot too."""
        for kind in ("vmdk", "raw"):
            path = self.daemon.dir / f"disk.{kind}"
            subprocess.run(
                ["qemu-img", "convert", "-O", kind, image_dir() / "disk.qcow2", path], check=True
            )
            self.api.createVM(f"vmctest {kind}", str(path))
            try:
                self.api.start(f"vmctest {kind}")
                self.api.ping(f"vmctest {kind}", DEADLINE_S)
            finally:
                self.api.powerOff(f"vmctest {kind}")
                self.api.removeVM(f"vmctest {kind}")

    def test_refused_names(self) -> None:
        """Names that would harm are refused, with what is allowed; nothing is made."""
        before = self.api.listVMs()
        image = str(disk("names.qcow2"))
        for name in ("", "a/b", "../x", "a\nb", "x" * 300, " x", "52:54:00:00:00:01", "\x1b[31m"):
            if "\x1b" in name:
                continue  # XML can't carry it: the client's own library makes no such call
            self.fault("BAD_ARGUMENT", "createVM", name, image)
        self.assertEqual(self.api.listVMs(), before)

    def test_odd_names(self) -> None:
        """Names with spaces, quotes, markup and letters of the world work, and start."""
        image = str(disk("odd.qcow2"))
        for name in (
            "vmctest a b",
            "vmctest 'q' \"Q\"",
            "vmctest <name>&amp;",
            "vmctest Ünï 虚拟",
        ):
            self.assertEqual(self.api.createVM(name, image), [True, name])
            try:
                self.assertEqual(self.api.getState(name), "PoweredOff")
                self.api.start(name)
                self.assertEqual(self.api.getState(name), "Running")
                self.api.powerOff(name)
            finally:
                self.api.removeVM(name)

    def test_refused_images(self) -> None:
        """What is missing, no disk, or in use is refused; nothing is made."""
        started(VM)
        before = self.api.listVMs()
        self.fault("NO_SUCH_IMAGE", "createVM", "vmctest x", "/does/not/exist.qcow2")
        self.fault("NO_SUCH_IMAGE", "createVM", "vmctest x", "relative.qcow2")
        self.fault("NO_SUCH_IMAGE", "createVM", "vmctest x", "")
        self.fault("BAD_IMAGE", "createVM", "vmctest x", "/etc/passwd")
        self.fault("BAD_IMAGE", "createVM", "vmctest x", "/etc")
        in_use = str(self.daemon.dir / "guest.qcow2")
        self.assertIn(
            "the VM 'vmctest", self.fault("IMAGE_IN_USE", "createVM", "vmctest x", in_use)
        )
        self.fault("VM_EXISTS", "createVM", VM, str(disk("other.qcow2")))
        self.assertEqual(self.api.listVMs(), before)

    def test_unknown_vm(self) -> None:
        """Each method names the VM that is not there."""
        for method in ("start", "shutdown", "getState", "removeVM", "ping", "pause"):
            self.assertIn("nobody", self.fault("NO_SUCH_VM", method, "nobody"))
        self.fault("NO_SUCH_VM", "runCmd", "nobody", "true")

    def test_agent_not_up_yet(self) -> None:
        """A command for a guest that still boots is refused at once; ping waits for the agent."""
        self.api.createVM("vmctest early", str(disk("early.qcow2")))
        try:
            self.api.start("vmctest early")
            text = self.fault("GUEST_UNREACHABLE", "runCmd", "vmctest early", "true")
            self.assertIn("ping waits for it", text)
            self.fault("GUEST_UNREACHABLE", "ping", "vmctest early", 0.1)
            self.api.ping("vmctest early", DEADLINE_S)
        finally:
            self.api.powerOff("vmctest early")
            self.api.removeVM("vmctest early")

    def test_made_by_others(self) -> None:
        """A VM that another program defines after the daemon's start is known at once."""
        xml = (
            "<domain type='qemu'><name>vmctest-foreign</name><memory unit='MiB'>64</memory>"
            "<os><type arch='x86_64'>hvm</type></os></domain>"
        )
        path = self.daemon.dir / "foreign.xml"
        path.write_text(xml)
        virsh = ["virsh", "-c", "qemu:///system"]
        subprocess.run([*virsh, "define", path], check=True, capture_output=True)
        try:
            self.assertEqual(self.api.getState("vmctest-foreign"), "PoweredOff")
        finally:
            subprocess.run([*virsh, "undefine", "vmctest-foreign"], check=True, capture_output=True)
        until(lambda: "vmctest-foreign" not in self.api.listVMs(), "it is gone again")

    def test_sigstopped_guest_holds_nobody_else(self) -> None:
        """A QEMU that is stopped from outside delays its own callers only."""
        started(VM)
        self.api.createVM("vmctest other", str(disk("other-vm.qcow2")))
        self.addCleanup(self.api.removeVM, "vmctest other")
        process = qemu_of(VM)
        process.send_signal(signal.SIGSTOP)
        try:
            self.fault("GUEST_UNREACHABLE", "ping", VM, 1)
            self.assertEqual(self.api.getState("vmctest other"), "PoweredOff")
            self.api.start("vmctest other")
            self.assertIn("vmctest other", self.api.listRunningVMs())
            self.api.powerOff("vmctest other")
        finally:
            process.send_signal(signal.SIGCONT)
        self.api.ping(VM, DEADLINE_S)
