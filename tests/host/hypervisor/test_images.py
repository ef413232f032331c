"""What is a disk image and what is not, and which would hand out files of the host."""

from __future__ import annotations

import os
import socket
import struct

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.common.errors import BadArgument, BadImage, NoSuchImage, VMControllerError
from vmcontroller.host.hypervisor.base import VmDisk
from vmcontroller.host.hypervisor.images import (
    FORMATS,
    backing_of,
    extents_of,
    identify,
    inspect,
    inspect_used,
    read_head,
)

MBR = b"\x00" * 510 + b"\x55\xaa"


def qcow2(
    *, version: int = 3, backing: str = "", backing_format: str = "", incompatible: int = 0
) -> bytes:
    """Make the first cluster of a qcow2 file by its specification."""
    extension = b""
    if backing_format:
        text = backing_format.encode()
        padding = b"\x00" * (-len(text) % 8)
        extension = struct.pack(">II", 0xE2792ACA, len(text)) + text + padding
    length = 104 if version == 3 else 72
    name = backing.encode()
    name_at = length + len(extension) + 8 if backing else 0
    header = b"QFI\xfb" + struct.pack(">IQI", version, name_at, len(name))
    header = header.ljust(72, b"\x00")
    if version == 3:
        header += struct.pack(">QQQII", incompatible, 0, 0, 4, 104)
    return (header + extension + b"\x00" * 8 + name).ljust(65536, b"\x00")


def vmdk(*extents: str, parent: str = "") -> bytes:
    lines = ["# Disk DescriptorFile", "version=1", 'createType="monolithicFlat"']
    lines += [f'parentFileNameHint="{parent}"'] if parent else []
    lines += [f'RW 2048 FLAT "{extent}" 0' for extent in extents]
    return "\n".join(lines).encode() + b"\n"


class IdentifyTests(SynchronousTestCase):
    def found(self, head: bytes, path: str = "/i/disk", asked: str = "") -> str:
        return identify(head, len(head), path, asked).format

    def refused(self, head: bytes, path: str = "/i/disk", asked: str = "") -> str:
        error = self.assertRaises(BadImage, identify, head, len(head), path, asked)
        self.assertEqual(error.path, path)
        return error.problem

    def test_by_content(self) -> None:
        """Content decides, not the name."""
        self.assertEqual(self.found(qcow2()), "qcow2")
        self.assertEqual(self.found(qcow2(version=2), "/i/a.vmdk"), "qcow2")
        self.assertEqual(self.found(b"KDMV".ljust(512, b"\x00")), "vmdk")
        self.assertEqual(self.found(vmdk("a-flat.vmdk")), "vmdk")
        self.assertEqual(self.found(MBR, "/i/a.qcow2"), "raw")

    def test_raw_needs_a_sign(self) -> None:
        """A raw disk has whole sectors and a boot record, or its user's word for it."""
        self.assertIn("option format", self.refused(b"\x00" * 512))
        self.assertEqual(self.found(b"\x00" * 512, asked="raw"), "raw")
        self.assertIn("whole sectors", self.refused(MBR + b"x"))
        self.assertIn("whole sectors", self.refused(MBR + b"x", asked="raw"))

    def test_raw_turned_qcow2(self) -> None:
        """A raw disk whose guest wrote another format's header is not opened as that format."""
        for path in ("/i/disk.raw", "/i/disk.IMG"):
            self.assertIn("option format", self.refused(qcow2(), path))
            self.assertEqual(self.found(qcow2(), path, "raw"), "raw")
            self.assertEqual(self.found(qcow2(), path, "qcow2"), "qcow2")

    def test_not_the_format_asked_for(self) -> None:
        """What the caller says must be so."""
        self.assertIn("but qcow2", self.refused(qcow2(), asked="vmdk"))
        self.assertEqual(self.refused(MBR, asked="qcow2"), "is not qcow2")
        error = self.assertRaises(BadArgument, identify, MBR, 512, "/i/d", "vhd")
        self.assertIn("qcow2, raw, vmdk", str(error))

    def test_strangers(self) -> None:
        """Common mistakes are told by name."""
        for head, word in {
            b"\x1f\x8b\x08": "gzip",
            b"\xfd7zXZ\x00": "xz",
            b"PK\x03\x04": "zip",
            b"\x7fELF": "ELF",
            b"vhdxfile": "VHDX",
            b"#!/bin/sh\n": "script",
        }.items():
            self.assertIn(word, self.refused(head.ljust(1024, b"\x00")))
        self.assertIn("no disk image", self.refused(b"root:x:0:0\n"))
        self.assertIn("empty", self.refused(b""))

    def test_qcow2_oddities(self) -> None:
        """Versions that QEMU does not write, cut-off headers and data elsewhere are refused."""
        self.assertIn("version 1", self.refused(qcow2(version=1)))
        self.assertIn("cut off", self.refused(b"QFI\xfb"))
        self.assertIn("another file", self.refused(qcow2(incompatible=4)))

    @given(
        st.binary(max_size=200), st.sampled_from(["", *FORMATS]), st.sampled_from(["", "QFI\xfb"])
    )
    def test_never_anything_else(self, tail: bytes, asked: str, magic: str) -> None:
        """Any content is one of the formats or one of our errors, all the way down."""
        head = magic.encode("latin-1") + tail
        try:
            image = identify(head, len(head), "/i/d", asked)
            if image.format == "qcow2":
                backing_of(head, "/i/d")
            if image.format == "vmdk":
                extents_of(head, "/i/d")
        except VMControllerError:
            return
        self.assertIn(image.format, FORMATS)


class NamedFilesTests(SynchronousTestCase):
    def test_backing_file(self) -> None:
        """Its name counts from the image's directory; its format must be stated."""
        for version in (2, 3):
            head = qcow2(version=version, backing="base.img", backing_format="raw")
            backing = backing_of(head, "/i/top")
            assert backing is not None
            self.assertEqual((backing.path, backing.format), ("/i/base.img", "raw"))
        self.assertIsNone(backing_of(qcow2(), "/i/top"))
        unstated = backing_of(qcow2(backing="/etc/shadow"), "/i/top")
        assert unstated is not None
        self.assertEqual((unstated.path, unstated.format), ("/etc/shadow", ""))

    def test_backing_elsewhere(self) -> None:
        """A backing file on the network or in QEMU's own syntax is no file."""
        for name in ("nbd://host/x", "json:{}", "fat:/etc", "a\x00b"):
            head = qcow2(backing=name, backing_format="raw")
            self.assertIn("not a path", self.assertRaises(BadImage, backing_of, head, "/i").problem)

    def test_vmdk_extents(self) -> None:
        """The pieces of a VMDK lie beside it."""
        self.assertEqual(extents_of(vmdk("a.vmdk", "b.vmdk"), "/i/d"), ("/i/a.vmdk", "/i/b.vmdk"))
        for name in ("/etc/shadow", "../x", "..", "", "c:x", "nbd://x"):
            self.assertRaises(BadImage, extents_of, vmdk(name), "/i/d")
        self.assertRaises(BadImage, extents_of, vmdk("a", parent="/etc/shadow"), "/i/d")

    def test_vmdk_descriptor_inside(self) -> None:
        """A sparse VMDK carries its descriptor inside; a parent there is found, too."""
        head = b"KDMV".ljust(28, b"\x00") + struct.pack("<QQ", 1, 1)
        bad = head.ljust(512, b"\x00") + vmdk("x.vmdk", parent="/etc/shadow").ljust(512, b"\x00")
        self.assertRaises(BadImage, extents_of, bad, "/i/d")
        good = head.ljust(512, b"\x00") + vmdk("x.vmdk").ljust(512, b"\x00")
        self.assertEqual(extents_of(good, "/i/d"), ())


class InspectTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = self.mktemp()
        os.mkdir(self.directory)

    def file(self, name: str, content: bytes) -> str:
        path = os.path.join(self.directory, name)
        with open(path, "wb") as file:
            file.write(content)
        return path

    def test_no_files(self) -> None:
        """What isn't there, or is no path at all, is missing."""
        for path in ("/no/such", "", "a\x00b", "\udc80", "x" * 300):
            self.assertRaises(NoSuchImage, read_head, path)

    def test_no_regular_files(self) -> None:
        """A directory, a FIFO, a device and a socket are no images, and nothing waits on them."""
        fifo = os.path.join(self.directory, "fifo")
        os.mkfifo(fifo)
        name = os.path.join(self.directory, "s")
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(os.path.relpath(name))
            for path in (self.directory, fifo, "/dev/null", name):
                self.assertRaises(BadImage, read_head, path)

    def test_chain(self) -> None:
        """Every file that an image stands on is looked at, too."""
        self.file("base.img", MBR)
        self.file("middle", qcow2(backing="base.img", backing_format="raw"))
        top = self.file("top", qcow2(backing="middle", backing_format="qcow2"))
        self.assertEqual(inspect(top).format, "qcow2")
        os.unlink(os.path.join(self.directory, "base.img"))
        self.assertIn("base.img", self.assertRaises(BadImage, inspect, top).problem)

    def test_all_its_files_are_named(self) -> None:
        """What an image is made of is told by real paths, apart by what is written to."""
        piece = os.path.realpath(self.file("d-flat.vmdk", b"\x00" * 512))
        base = os.path.realpath(self.file("d.vmdk", vmdk("d-flat.vmdk")))
        os.symlink(base, os.path.join(self.directory, "link"))
        middle = self.file("middle", qcow2(backing="link", backing_format="vmdk"))
        top = self.file("top", qcow2(backing="middle", backing_format="qcow2"))
        image = inspect(top)
        self.assertEqual(image.written, (top,))
        self.assertEqual(image.files, (top, os.path.realpath(middle), base, piece))
        self.assertEqual(inspect(base).written, (base, piece))
        self.assertEqual(inspect(base).files, (base, piece))

    def test_disks_in_use(self) -> None:
        """Of a machine's disk all is told that can be found out, and a fault is none."""
        for name, backing_format in (("gone", "raw"), ("guessed", ""), ("/dev/null", "raw")):
            top = self.file("top.img", qcow2(backing=name, backing_format=backing_format))
            below = os.path.realpath(os.path.join(self.directory, name))
            used = inspect_used(VmDisk(path=top, format="qcow2"))
            self.assertEqual(used.files, (top, below))
            raw = inspect_used(VmDisk(path=top, format="raw"))
            self.assertEqual(raw.files, (top,))
        for path, text in (("/no/such", "qcow2"), ("/dev/null", "raw"), (top, "vhdx"), (top, "")):
            self.assertEqual(inspect_used(VmDisk(path=path, format=text)).files, (path,))

    def test_backing_of_unstated_format(self) -> None:
        """QEMU is never left to guess a backing file's format."""
        self.file("base.img", MBR)
        top = self.file("top", qcow2(backing="base.img"))
        self.assertIn("state the format", self.assertRaises(BadImage, inspect, top).problem)

    def test_chain_into_no_image(self) -> None:
        """A text file of the host is not read by way of an image."""
        self.file("secret", b"root:x:0:0\n")
        top = self.file("top", qcow2(backing="secret", backing_format="raw"))
        self.assertIn("backing file", self.assertRaises(BadImage, inspect, top).problem)

    def test_chain_in_a_ring(self) -> None:
        """An image that stands on itself is refused."""
        top = self.file("ring", qcow2(backing="ring", backing_format="qcow2"))
        self.assertRaises(BadImage, inspect, top)

    def test_vmdk_in_pieces(self) -> None:
        """All pieces must be there."""
        path = self.file("d.vmdk", vmdk("d-flat.vmdk"))
        self.assertIn("d-flat.vmdk", self.assertRaises(BadImage, inspect, path).problem)
        self.file("d-flat.vmdk", b"\x00" * 512)
        self.assertEqual(inspect(path).format, "vmdk")
