"""createVM's options on real guests in QEMU: what was asked for is what the guest sees.

The guest's image is that of scripts/guest-image; scripts/test names it in VMCONTROLLER_TEST_IMAGE.
Its kernel has drivers for virtio, SCSI over virtio and IDE; it has none for SATA.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import xml.etree.ElementTree as ET
import xmlrpc.client
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.daemon import DEADLINE_S, Daemon, until

ISOLATED = "vmctest-d-isolated"
CONFIG = "guests: {gc_grace: 60, stop_timeout: 120}\nvms: {memory_mib: 320}\n"
HYPERVISOR = f"libvirt, isolated_network: {ISOLATED}, isolated_subnet: 192.168.157.0/24"
MIB = 2**20

_running: list[Daemon] = []


def virsh(*arguments: str) -> str:
    """Ask libvirt itself."""
    return subprocess.run(
        ["virsh", "-q", "-c", "qemu:///system", *arguments],
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def running() -> Daemon:
    """Return one daemon for all tests of this module, with a base image in its directory."""
    if not _running:
        daemon = Daemon("libvirt", config=CONFIG)
        text = daemon.config.read_text()
        daemon.config.write_text(text.replace("{name: libvirt}", f"{{name: {HYPERVISOR}}}"))
        atexit.register(stop, daemon)
        image = Path(os.environ["VMCONTROLLER_TEST_IMAGE"])
        for name in ("disk.qcow2", "vmlinuz", "initrd.img"):
            shutil.copyfile(image / name, daemon.dir / name)
            (daemon.dir / name).chmod(0o644)
        _running.append(daemon.start())
    return _running[0]


def stop(daemon: Daemon) -> None:
    """Leave nothing behind, the network neither."""
    daemon.stop()
    if ISOLATED in virsh("net-list", "--all", "--name").split():
        virsh("net-destroy", ISOLATED)
        virsh("net-undefine", ISOLATED)


def digest(path: Path) -> str:
    """Return what a file's content is known by."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class OptionsCase(SynchronousTestCase):
    """Each test makes VMs that are gone after it."""

    def setUp(self) -> None:
        self.daemon = running()
        self.api = self.daemon.api
        self.disks = self.daemon.dir / "state" / "disks"
        self.base = self.daemon.dir / "disk.qcow2"

    def create(self, name: str, image: str | None = None, **options: Any) -> str:
        """Make a VM that ends with the test; on a clone of the base if nothing else is said."""
        vm = f"vmctest-d {name}"
        if image is None:
            image, options = str(self.base), {"clone": True, **options}
        self.assertEqual(self.api.createVM(vm, image, options), [True, vm])
        self.addCleanup(self.remove, vm)
        return vm

    def remove(self, vm: str) -> None:
        if vm in self.api.listVMs():
            if self.api.getState(vm) in {"Running", "Paused"}:
                self.api.powerOff(vm)
            self.api.removeVM(vm)

    def up(self, *vms: str) -> None:
        for vm in vms:
            self.api.start(vm)
        for vm in vms:
            self.api.ping(vm, 3 * DEADLINE_S)  # two boot at once

    def sh(self, vm: str, script: str) -> str:
        """Run a script in a guest; its output."""
        result = self.daemon.run(vm, "sh", "-c", script)
        self.assertEqual(result["exitCodeOrSignal"], 0, result)
        return str(result["out"]).strip()

    def definition(self, vm: str) -> ET.Element:
        return ET.fromstring(virsh("dumpxml", "--inactive", vm))

    def fault(self, name: str, image: str, **options: Any) -> str:
        """Return the text of the Fault, after which nothing is there that wasn't before."""
        before = (self.own(), self.kept())
        self.addCleanup(self.remove, "vmctest-d refused")
        error = self.assertRaises(
            xmlrpc.client.Fault, self.api.createVM, "vmctest-d refused", image, options
        )
        self.assertTrue(error.faultString.startswith(f"{name}: "), error.faultString)
        self.assertEqual((self.own(), self.kept()), before)
        return str(error.faultString)

    def own(self) -> list[str]:
        """The VMs of these tests: others may be at work here, too."""
        return [name for name in self.api.listVMs() if name.startswith("vmctest-d ")]

    def kept(self) -> list[Path]:
        """What there is of disks."""
        return sorted(self.disks.rglob("*"))


class CloneTests(OptionsCase):
    def test_two_clones_of_one_base_at_once(self) -> None:
        """Clones run side by side, each writes to its own disk, and the base stays as it is."""
        status, content = self.base.stat(), digest(self.base)
        one = self.create("one")
        two = self.create("two", diskSize=3000)
        self.up(one, two)
        self.sh(one, "echo one >/etc/mine; sync")
        self.assertEqual(self.sh(two, "ls /root"), "")
        self.assertEqual(self.sh(two, "cat /sys/block/vda/size"), str(3000 * MIB // 512))
        self.assertNotEqual(
            self.sh(one, "cat /sys/class/dmi/id/product_uuid"),
            self.sh(two, "cat /sys/class/dmi/id/product_uuid"),
        )
        (disk,) = self.api.getVM(one)["disks"]
        self.assertEqual(
            disk,
            {
                "path": str(self.disks / self.api.getVM(one)["uuid"] / "disk.qcow2"),
                "format": "qcow2",
                "bus": "virtio",
                "made": True,
                "readOnly": False,
            },
        )
        for vm in (one, two):
            self.remove(vm)
        self.assertEqual(self.kept(), [])
        self.assertEqual(digest(self.base), content)
        after = self.base.stat()
        for field in ("st_mtime_ns", "st_size", "st_uid", "st_gid", "st_mode"):
            self.assertEqual(getattr(after, field), getattr(status, field), field)

    def test_a_base_is_nobody_s_disk(self) -> None:
        """A base that another VM writes to is refused, and so is writing to the base of a clone."""
        own = self.daemon.dir / "own.qcow2"
        shutil.copyfile(self.base, own)
        writer = self.create("writer", str(own))
        self.assertIn(writer, self.fault("IMAGE_IN_USE", str(own), clone=True))
        clone = self.create("clone")
        self.assertIn(clone, self.fault("IMAGE_IN_USE", str(self.base)))
        overlay = self.api.getVM(clone)["disks"][0]["path"]
        self.fault("IMAGE_IN_USE", overlay, clone=True)
        self.fault("IMAGE_IN_USE", "", disks=[{"path": overlay}])
        self.remove(writer)
        self.assertTrue(own.exists(), "what was given stays")

    def test_refused_clones(self) -> None:
        """What is no base, and a disk that would have to shrink, are refused; nothing is left."""
        text = self.fault("BAD_ARGUMENT", str(self.base), clone=True, diskSize=10)
        self.assertIn("10 MiB is less than the ", text)
        self.fault("NO_SUCH_IMAGE", "", clone=True)
        self.fault("BAD_IMAGE", "/etc/passwd", clone=True)
        damaged = self.daemon.dir / "damaged.qcow2"
        content = bytearray(self.base.read_bytes()[:65536])
        content[48:56] = b"\xff" * 8  # where its table of references should be
        damaged.write_bytes(content)
        self.assertIn("qemu-img", self.fault("HYPERVISOR_ERROR", str(damaged), clone=True))


class DiskTests(OptionsCase):
    def test_more_disks(self) -> None:
        """A made and a given disk show in the guest with their sizes; only the made one goes."""
        given = self.daemon.dir / "given.raw"
        with given.open("wb") as file:
            file.truncate(48 * MIB)
        vm = self.create("disks", disks=[{"size": 64}, {"path": str(given), "format": "raw"}])
        self.up(vm)
        self.assertEqual(self.sh(vm, "cat /sys/block/vdb/size"), str(64 * MIB // 512))
        self.assertEqual(self.sh(vm, "cat /sys/block/vdc/size"), str(48 * MIB // 512))
        self.sh(vm, "echo written | dd of=/dev/vdc conv=fsync 2>/dev/null")
        made = [disk["path"] for disk in self.api.getVM(vm)["disks"] if disk["made"]]
        self.assertEqual([Path(path).name for path in made], ["disk.qcow2", "disk-2.qcow2"])
        again = [{"path": str(given), "format": "raw"}]
        self.assertIn(vm, self.fault("IMAGE_IN_USE", str(self.base), clone=True, disks=again))
        self.remove(vm)
        self.assertEqual(self.kept(), [])
        self.assertTrue(given.read_bytes().startswith(b"written\n"))

    def test_one_file_twice(self) -> None:
        """A VM is not given one file as two disks."""
        given = str(self.daemon.dir / "twice.raw")
        Path(given).write_bytes(bytes(MIB))
        twice = [{"path": given, "format": "raw"}] * 2
        self.assertIn("itself", self.fault("IMAGE_IN_USE", str(self.base), clone=True, disks=twice))

    def test_scsi(self) -> None:
        """A guest boots from a disk on SCSI, and sees a second one there."""
        vm = self.create("scsi", bus="scsi", disks=[{"size": 20}])
        self.up(vm)
        sizes = self.sh(vm, "cat /sys/block/sd*/size").split()  # found in any order
        self.assertIn(str(20 * MIB // 512), sizes)
        self.assertEqual(len(sizes), 2)
        self.assertEqual({disk["bus"] for disk in self.api.getVM(vm)["disks"]}, {"scsi"})

    def test_ide_and_a_disc(self) -> None:
        """A guest boots from IDE, with a disc that another VM may have at the same time."""
        disc = self.daemon.dir / "tools.iso"
        subprocess.run([sys.executable, "-c", MAKE_DISC, disc], check=True)
        vm = self.create("ide", bus="ide", cdrom=str(disc), bootOrder=["disk", "cdrom"])
        self.create("ide too", cdrom=str(disc))
        self.up(vm)
        self.assertEqual(
            self.sh(vm, "modprobe -a sr_mod isofs; mount -o ro /dev/sr0 /mnt; cat /mnt/hello"),
            "hello from a disc",
        )
        self.assertEqual(disc.stat().st_uid, os.geteuid(), "others read it, too")
        orders = {
            disk.get("device"): disk.find("boot").get("order")
            for disk in self.definition(vm).iterfind("devices/disk")
        }
        self.assertEqual(orders, {"disk": "1", "cdrom": "2"})
        self.fault("BAD_IMAGE", str(self.base), clone=True, cdrom=str(self.base))
        self.fault(
            "IMAGE_IN_USE", str(self.base), clone=True, disks=[{"path": str(disc), "format": "raw"}]
        )
        five = [{"size": 1}] * 4
        self.assertIn(
            "ide", self.fault("BAD_ARGUMENT", str(self.base), clone=True, bus="ide", disks=five)
        )

    def test_sata(self) -> None:
        """A VM with its disk on SATA is started by QEMU; its kernel has no driver for that."""
        vm = self.create("sata", bus="sata")
        self.api.start(vm)
        self.assertEqual(self.api.getState(vm), "Running")
        target = self.definition(vm).find("devices/disk/target")
        assert target is not None
        self.assertEqual(target.attrib, {"dev": "sda", "bus": "sata"})


MAKE_DISC = """
import io, sys, pycdlib
disc = pycdlib.PyCdlib()
disc.new(rock_ridge="1.09", vol_ident="TOOLS")
disc.add_fp(io.BytesIO(b"hello from a disc"), 17, "/HELLO.;1", rr_name="hello")
disc.write(sys.argv[1])
"""


class NetworkTests(OptionsCase):
    def test_isolated(self) -> None:
        """On the isolated network the agent reaches the daemon, and the guest nothing else."""
        vm = self.create("isolated", network="isolated")
        other = self.create("isolated too", network="isolated")
        self.assertEqual(virsh("net-list", "--all", "--name").split().count(ISOLATED), 1)
        self.up(vm)
        self.assertEqual(self.api.getVM(other)["network"], "isolated")
        routes = self.sh(vm, "ip route")
        self.assertIn("192.168.157.0/24", routes)
        self.assertNotIn("default", routes)
        # Not even with a route of its own making.
        self.sh(vm, "ip route add default via 192.168.157.1")
        outside = self.daemon.run(vm, "ping", "-c", "1", "-W", "2", "192.0.2.1")
        self.assertNotEqual(outside["exitCodeOrSignal"], 0)
        self.assertIn("100% packet loss", outside["out"])

    def test_bridge(self) -> None:
        """A guest on a bridge of the host is there; a bridge that is missing is told."""
        bridge = ET.fromstring(virsh("net-dumpxml", "default")).find("bridge").get("name")
        vm = self.create("bridge", network="bridge", bridge=bridge)
        self.up(vm)
        self.assertEqual(self.api.getVM(vm)["network"], "bridge")
        text = self.fault(
            "BAD_ARGUMENT", str(self.base), clone=True, network="bridge", bridge="br77"
        )
        self.assertIn(bridge, text)
        self.fault("BAD_ARGUMENT", str(self.base), clone=True, network="bridge")
        self.fault("BAD_ARGUMENT", str(self.base), clone=True, network="nat", bridge=bridge)


class FirmwareTests(OptionsCase):
    def test_uefi(self) -> None:
        """With firmware uefi the guest has been started by a UEFI; with the usual one it hasn't."""
        vm = self.create(
            "uefi",
            firmware="uefi",
            kernel=str(self.daemon.dir / "vmlinuz"),
            initrd=str(self.daemon.dir / "initrd.img"),
            cmdline=(Path(os.environ["VMCONTROLLER_TEST_IMAGE"]) / "cmdline").read_text().strip(),
            memory=512,
        )
        self.up(vm)
        self.assertIn("runtime", self.sh(vm, "ls /sys/firmware/efi"))
        self.assertEqual(self.api.getVM(vm)["firmware"], "uefi")
        bios = self.create("bios", firmware="bios")
        self.assertEqual(self.api.getVM(bios)["firmware"], "bios")

    def test_boot_order(self) -> None:
        """The order of booting is the definition's, for the first disk and the NIC alone."""
        vm = self.create("order", bootOrder=["network", "disk"], disks=[{"size": 1}])
        found = {
            device.tag: boot.get("order")
            for device in self.definition(vm).iterfind("devices/*")
            for boot in device.iterfind("boot")
        }
        self.assertEqual(found, {"disk": "2", "interface": "1"})
        first = self.definition(vm).find("devices/disk[boot]/target")
        assert first is not None
        self.assertEqual(first.get("dev"), "vda")


class DescriptionTests(OptionsCase):
    def test_what_get_vm_tells(self) -> None:
        """GetVM tells what the VM was made with, defaults of the configuration too."""
        text = "für <Tests> & 'mehr'\nzweite Zeile"
        vm = self.create("described", vcpus=2, network="none", description=text)
        told = self.api.getVM(vm)
        self.assertEqual(
            {key: told[key] for key in ("name", "state", "memory", "vcpus", "network", "macs")},
            {
                "name": vm,
                "state": "PoweredOff",
                "memory": 320,
                "vcpus": 2,
                "network": "none",
                "macs": [],
            },
        )
        self.assertEqual((told["description"], told["hypervisor"]), (text, "libvirt"))
        self.assertEqual((told["firmware"], told["snapshots"]), ("bios", 0))
        self.assertEqual(self.api.getVM(told["uuid"]), told)

    def test_definition_is_valid(self) -> None:
        """With everything that can be asked for, the definition is what libvirt's schema wants."""
        disc = self.daemon.dir / "valid.iso"
        subprocess.run([sys.executable, "-c", MAKE_DISC, disc], check=True)
        for bus in ("virtio", "scsi", "sata", "ide"):
            vm = self.create(
                f"valid {bus}",
                bus=bus,
                disks=[{"size": 1}],
                cdrom=str(disc),
                bootOrder=["cdrom", "network", "disk"],
                firmware="uefi",
                hostname="h",
                description="x",
            )
            path = self.daemon.dir / "valid.xml"
            path.write_text(virsh("dumpxml", "--inactive", "--security-info", vm))
            virsh("define", "--validate", str(path))


class SeedTests(OptionsCase):
    def test_seed_to_the_byte(self) -> None:
        """cloud-init's files are in a file system called cidata, to the byte."""
        user = "#cloud-config\n# ü <&> 'x'\nruncmd: [echo]\n" + "# filler\n" * 20_000
        network = "version: 2\nethernets: {}\n"
        vm = self.create(
            "seed",
            userData=user,
            networkConfig=network,
            hostname="worker-1.example",
            sshKeys=["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ6vJnGJw me@here"],
        )
        self.up(vm)
        self.sh(vm, "modprobe isofs; mount -o ro -t iso9660 $(findfs LABEL=cidata) /mnt")
        self.assertEqual(self.content(vm, "/mnt/user-data"), user.encode())
        self.assertEqual(self.content(vm, "/mnt/network-config"), network.encode())
        self.assertEqual(
            self.content(vm, "/mnt/meta-data").decode(),
            f"instance-id: {self.api.getVM(vm)['uuid']}\n"
            "local-hostname: worker-1.example\n"
            "public-keys:\n- ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ6vJnGJw me@here\n",
        )
        seed = self.api.getVM(vm)["disks"][-1]
        self.assertEqual((seed["made"], seed["readOnly"]), (True, True))
        self.remove(vm)
        self.assertEqual(self.kept(), [])

    def content(self, vm: str, path: str) -> bytes:
        result = self.daemon.run(vm, "cat", path)
        return self.daemon.output(result["cmd-id"], "stdout")

    def test_hostile_seeds(self) -> None:
        """What cloud-init could not use, or was made to harm, is one clear error."""
        base, clone = str(self.base), {"clone": True}
        for options, says in (
            ({"hostname": "a\nruncmd: [x]"}, "options.hostname"),
            ({"hostname": "-x"}, "options.hostname"),
            ({"userData": "#cloud-config\n" + "x" * MIB}, "262144"),
            ({"userData": "runcmd: [x]"}, "#cloud-config"),
            ({"metaData": "- a list"}, "a mapping"),
            ({"metaData": "[" * 10_000}, "options.metaData"),
            ({"networkConfig": "a: b: c"}, "options.networkConfig"),
            ({"sshKeys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5\nssh-rsa x"]}, "options.sshKeys[0]"),
            ({"sshKeys": ["-----BEGIN OPENSSH PRIVATE KEY-----"]}, "private"),
        ):
            self.assertIn(says, self.fault("BAD_ARGUMENT", base, **clone, **options))


class KilledDaemonTests(OptionsCase):
    def test_killed_half_way(self) -> None:
        """What a daemon that is killed while it makes a VM leaves is swept by the next one."""
        vm = self.create("kept", disks=[{"size": 1}])
        before = self.kept()
        (self.disks / "README").write_text("somebody else's\n")
        self.addCleanup((self.disks / "README").unlink)
        bin_dir = self.daemon.dir / "bin"
        bin_dir.mkdir()
        pid = self.daemon.dir / "pid"
        slow = bin_dir / "qemu-img"
        slow.write_text(f'#!/bin/sh\n/usr/bin/qemu-img "$@"\necho $$ >{pid}\nexec sleep 300\n')
        slow.chmod(0o755)
        self.daemon.terminate()
        path = os.environ["PATH"]
        os.environ["PATH"] = f"{bin_dir}:{path}"
        try:
            self.daemon.start()
        finally:
            os.environ["PATH"] = path
        with self.daemon.new_client() as api:
            calling = threading.Thread(target=self.left_hanging, args=(api,))
            calling.start()
            until(lambda: pid.exists() and pid.read_text().strip(), "the overlay is being made")
            self.daemon.kill()
            calling.join()
        os.kill(int(pid.read_text()), signal.SIGKILL)
        self.assertEqual(len(self.kept()), len(before) + 1 + 3)
        self.daemon.start()
        self.api = self.daemon.api
        self.assertEqual(self.kept(), sorted([*before, self.disks / "README"]))
        self.assertNotIn("vmctest-d half", self.api.listVMs())
        self.up(vm)

    def left_hanging(self, api: Any) -> None:
        self.assertRaises(OSError, api.createVM, "vmctest-d half", str(self.base), {"clone": True})
