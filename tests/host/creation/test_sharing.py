"""Which disk images a new VM may have beside the VMs there are; made with the real qemu-img."""

from __future__ import annotations

import os
import shutil
import subprocess

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.fakes.hypervisor import FakeHypervisor
from tests.host.wiring import creation_of
from vmcontroller.common.errors import ImageInUse
from vmcontroller.host.hypervisor.base import Capability, Vm, VmDisk
from vmcontroller.host.hypervisor.specification import VmSpec
from vmcontroller.host.hypervisor.vm_state import VmState
from vmcontroller.host.requests import CreateOptions, DiskOptions


class DiskHypervisor(FakeHypervisor):
    """A fake of those whose VMs are made from disk images."""

    capabilities = frozenset(Capability)


class ImageInUseTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = os.path.realpath(self.mktemp())
        os.mkdir(self.directory)
        self.others: list[Vm] = []

    def path(self, name: str) -> str:
        return os.path.join(self.directory, name)

    def image(self, name: str, *options: str, kind: str = "qcow2", size: str = "1M") -> str:
        path = self.path(name)
        command = ["qemu-img", "create", "-q", "-f", kind, *options, path, size]
        subprocess.run(command, check=True)
        return path

    def overlay(self, name: str, on: str, kind: str = "qcow2") -> str:
        return self.image(name, "-b", on, "-F", kind)

    def taken(
        self, path: str, kind: str = "qcow2", name: str = "other", *, read_only: bool = False
    ) -> None:
        disk = VmDisk(path=path, format=kind, read_only=read_only)
        self.others.append(Vm(uuid=name, name=name, state=VmState.POWERED_OFF, disks=(disk,)))

    def created(self, path: str, kind: str = "", **options: object) -> Deferred[VmSpec]:
        """Return what the hypervisor was given of a VM that is made, if it comes to that."""
        hypervisor = DiskHypervisor()
        self.successResultOf(Deferred.fromCoroutine(hypervisor.open(lambda _: None)))
        creation = creation_of(hypervisor, self.mktemp())

        async def create() -> VmSpec:
            wanted = CreateOptions(format=kind, **options)  # type: ignore[arg-type]
            vm = await creation.create("new", path, wanted, self.others)
            return hypervisor.specs[vm.uuid]

        return Deferred.fromCoroutine(create())

    def allowed(self, path: str, kind: str = "", **options: object) -> VmSpec:
        return self.successResultOf(self.created(path, kind, **options))

    def refused(self, path: str, kind: str = "", about: str = "", **options: object) -> str:
        error = self.failureResultOf(self.created(path, kind, **options), ImageInUse).value
        self.assertEqual(error.path, about or path)
        return str(error)

    def test_the_same_file(self) -> None:
        """Another VM's own disk is refused, by whatever name; one that nobody has is not."""
        disk = self.image("disk")
        self.allowed(disk)
        self.taken(disk)
        os.symlink(disk, self.path("symlink"))
        os.link(disk, self.path("hardlink"))
        for name in ("disk", "symlink", "hardlink"):
            self.assertIn("the VM 'other'", self.refused(self.path(name)))

    def test_below_another(self) -> None:
        """A file that another VM's overlays stand on, however deep, is not to be written to."""
        base = self.image("base")
        middle = self.overlay("middle", on=base)
        self.taken(self.overlay("top.img", on=middle))
        self.refused(base)
        self.refused(middle)

    def test_above_another(self) -> None:
        """An overlay on a disk that another VM writes to is refused, and told by way of what."""
        disk = self.image("disk", kind="raw")
        self.taken(disk, "raw")
        middle = self.overlay("middle", on=disk, kind="raw")
        top = self.overlay("top", on=middle)
        self.assertIn(f"by way of {disk!r}", self.refused(middle))
        self.assertIn(f"by way of {disk!r}", self.refused(top))

    def test_beside_another(self) -> None:
        """Overlays may share the files that they only read from."""
        base = self.image("base")
        middle = self.overlay("middle", on=base)
        self.taken(self.overlay("one", on=middle))
        self.taken(self.overlay("two", on=base), name="second")
        for below in (base, middle):
            spec = self.allowed(self.overlay("three", on=below))
            assert spec.disk is not None
            self.assertIn(base, spec.disk.backing)

    def test_pieces_of_a_vmdk(self) -> None:
        """The pieces of a VMDK are written to as well, so nobody else may have them."""
        disk = self.image("disk.vmdk", "-o", "subformat=monolithicFlat", kind="vmdk")
        piece = self.path("disk-flat.vmdk")
        self.taken(disk, "vmdk")
        self.refused(piece, "raw")
        second = shutil.copy(disk, self.path("second.vmdk"))
        self.assertIn(f"by way of {piece!r}", self.refused(second))
        self.others.clear()
        self.taken(piece, "raw")
        self.refused(disk)

    def test_disks_that_cannot_be_looked_at(self) -> None:
        """A VM whose disk is gone or no image is no obstacle, and keeps its own path."""
        plain = self.path("plain")
        with open(plain, "wb") as file:
            file.write(b"\x00" * 512)
        for path, kind in ((self.path("gone"), "qcow2"), (plain, "qcow2"), ("/dev/null", "raw")):
            self.taken(path, kind)
        self.allowed(self.image("disk"))
        self.refused(plain, "raw")

    def test_what_a_guest_wrote(self) -> None:
        """A guest that writes a qcow2 header on its raw disk claims no other file by that."""
        base = self.image("base")
        self.taken(self.overlay("claims", on=base), "raw")
        self.allowed(base)

    def test_clones(self) -> None:
        """A base may be that of many, but nobody's disk: neither before nor after."""
        base = self.image("base")
        first = self.allowed(base, clone=True)
        assert first.disk is not None
        self.assertEqual((first.disk.format, first.disk.backing), ("qcow2", (base,)))
        self.taken(first.disk.path, name="first")
        self.allowed(base, clone=True)
        self.assertIn("the VM 'first'", self.refused(base))
        self.refused(first.disk.path, clone=True)
        writer = self.image("writer")
        self.taken(writer)
        self.assertIn("the VM 'other'", self.refused(writer, clone=True))
        middle = self.overlay("middle", on=writer)
        self.assertIn(f"by way of {writer!r}", self.refused(middle, clone=True))

    def test_more_disks(self) -> None:
        """The rules hold for each disk, and between those of one VM."""
        first, second = self.image("first"), self.image("second")
        self.allowed(first, disks=(DiskOptions(path=second),))
        for disks in ((DiskOptions(path=first),), (DiskOptions(path=second),) * 2):
            self.assertIn("itself", self.refused(first, disks=disks, about=disks[-1].path))
        self.taken(second)
        text = self.refused(first, disks=(DiskOptions(path=second),), about=second)
        self.assertIn("the VM 'other'", text)
        self.assertIn("itself", self.refused(first, clone=True, disks=(DiskOptions(path=first),)))

    def test_discs(self) -> None:
        """A disc is shared by those who only read it; nobody is given it to write to."""
        disk, disc = self.image("disk"), self.path("tools.iso")
        with open(disc, "wb") as file:
            file.write(b"\x00" * 32768 + b"\x01CD001".ljust(32768, b"\x00"))
        self.taken(disc, "raw", read_only=True)
        spec = self.allowed(disk, cdrom=disc)
        self.assertEqual(spec.cdrom, disc)
        self.refused(disc, "raw")
        self.others.clear()
        self.taken(disc, "raw")
        self.refused(disk, cdrom=disc, about=disc)
