"""Snapshots in libvirt's XML: nothing of a name or a description is lost or misunderstood."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from hypothesis import given
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.host.hypervisor.libvirt.snapshot_xml import build, hindrance, named, parse
from vmcontroller.host.hypervisor.vm_state import VmState

DISK = "<disk type='file' device='{device}'><driver type='{kind}'/><source file='/d/{kind}'/>{more}"


def machine(*disks: str, os: str = "") -> str:
    return f"<domain><os>{os}</os><devices>{''.join(disks)}</devices></domain>"


def disk(kind: str, device: str = "disk", more: str = "<target dev='vda'/>") -> str:
    return DISK.format(device=device, kind=kind, more=more) + "</disk>"


class NamesTests(SynchronousTestCase):
    @given(some.text(min_size=1, max_size=100), some.text())
    def test_comes_back(self, name: str, description: str) -> None:
        """What libvirt is told is XML, its name a file's name and no number, and reads the same."""
        text = build(name, description)
        told = ET.fromstring(text).findtext("name", "")
        self.assertTrue(re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]{0,99}", told), told)
        found = parse(text)
        self.assertEqual((found.name, found.description), (name, description))

    def test_plain_names_stay(self) -> None:
        """Who looks with virsh finds them by their names."""
        for name in ("first", "boinc_1234", "v1.2-rc"):
            root = ET.fromstring(build(name, "<a> & b\n"))
            self.assertEqual(root.findtext("name"), name)
            self.assertEqual(root.findtext("description"), "<a> & b\n")

    def test_others_differ(self) -> None:
        """Two names are never told as one."""
        names = ["1", "2", "a b", "a  b", "ab ", "虚", "vmcontroller-x", "x" * 100, "-", "a/b"]
        told = {ET.fromstring(build(name, "")).findtext("name") for name in names}
        self.assertEqual(len(told), len(names))

    def test_made_by_others(self) -> None:
        """Their names and descriptions are what they are, even if they look like ours."""
        for text in ("vmcontroller-snapshot-1 {", "vmcontroller-snapshot-1 []", "plain", ""):
            xml = (
                "<domainsnapshot><name>1650000000</name><state>disk-snapshot</state>"
                f"<description>{text}</description><creationTime>5</creationTime>"
                "<parent><name>p</name></parent></domainsnapshot>"
            )
            found = parse(xml)
            self.assertEqual((found.name, found.description), ("1650000000", text))
            self.assertEqual((found.parent, found.created_s), ("p", 5.0))
            self.assertEqual(found.state, VmState.POWERED_OFF)

    def test_external(self) -> None:
        """Those that others keep in files of their own are told from ours."""
        for part in ("<memory snapshot='{}'/>", "<disks><disk name='vda' snapshot='{}'/></disks>"):
            for kind, expected in (("internal", False), ("external", True), ("no", False)):
                xml = f"<domainsnapshot><name>x</name>{part.format(kind)}</domainsnapshot>"
                self.assertIs(parse(xml).is_external, expected)

    def test_bare(self) -> None:
        """What is left out is empty, unknown or long ago."""
        found = parse("<domainsnapshot><name>x</name></domainsnapshot>")
        self.assertEqual((found.description, found.parent, found.created_s), ("", "", 0.0))
        self.assertEqual(found.state, VmState.UNKNOWN)

    def test_parents_by_their_true_names(self) -> None:
        """Parents and the current one are told by libvirt's names."""
        first = parse(build("a b", ""))
        second = parse(
            build("c", "").replace(
                "</domainsnapshot>",
                f"<parent><name>{first.told_name}</name></parent></domainsnapshot>",
            )
        )
        one, two = named([first, second], first.told_name)
        self.assertEqual((one.parent, two.parent), ("", "a b"))
        self.assertEqual((one.is_current, two.is_current), (True, False))


class HindranceTests(SynchronousTestCase):
    def test_none(self) -> None:
        """All that is written to is qcow2; discs are not written to."""
        self.assertEqual(hindrance(machine(disk("qcow2"), disk("qcow2", "lun"))), "")
        disc = disk("raw", "cdrom", "<target dev='sda'/><readonly/>")
        seed = disk("raw", more="<target dev='vdb'/><readonly/>")
        self.assertEqual(hindrance(machine(disk("qcow2"), disc, seed)), "")

    def test_other_disks(self) -> None:
        """The disk that hinders is named, with what would do."""
        for kind in ("raw", "vmdk"):
            said = hindrance(machine(disk("qcow2"), disk(kind, more="<target dev='vdb'/>")))
            self.assertIn(f"vdb, '/d/{kind}'", said)
            self.assertIn(f"is {kind}", said)
            self.assertIn("qemu-img convert", said)
        bare = "<disk type='block'><source dev='/dev/x'/></disk>"
        self.assertIn("'/dev/x'", hindrance(machine(bare)))

    def test_no_disk(self) -> None:
        """A machine that boots from an initrd alone has nothing to keep it on."""
        self.assertIn("without a disk", hindrance(machine()))

    def test_uefi(self) -> None:
        """Its variables are in a raw file."""
        loader = "<loader readonly='yes' type='pflash'>/x</loader>"
        self.assertIn("UEFI", hindrance(machine(disk("qcow2"), os=loader)))
