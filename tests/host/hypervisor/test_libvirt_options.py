"""What createVM's options become in a definition, and that it is read back."""

from __future__ import annotations

import dataclasses
import os
import xml.etree.ElementTree as ET
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.common.errors import BadArgument, Unsupported
from vmcontroller.host.hypervisor.base import Capability
from vmcontroller.host.hypervisor.libvirt.domain_view import details, parse
from vmcontroller.host.hypervisor.libvirt.domain_xml import DomainPlan, build
from vmcontroller.host.hypervisor.libvirt.drives import IDE_DRIVES, drives_of
from vmcontroller.host.hypervisor.libvirt.host_means import check_bridge, no_uefi
from vmcontroller.host.hypervisor.libvirt.host_xml import offers_uefi
from vmcontroller.host.hypervisor.libvirt.networks import is_isolated, isolated_network
from vmcontroller.host.hypervisor.libvirt.plan import plan
from vmcontroller.host.hypervisor.needs import check_supported
from vmcontroller.host.hypervisor.specification import (
    BOOT_DEVICES,
    BUSES,
    DirectBoot,
    DiskImage,
    ExtraDisk,
    VmSpec,
)

QCOW2 = DiskImage(path="/images/a.qcow2", format="qcow2")
SPEC = VmSpec(name="web", image=QCOW2.path, disk=QCOW2)
MAC = "52:54:00:00:00:01"


def planned(arch: str = "x86_64", **changes: object) -> DomainPlan:
    return plan(
        dataclasses.replace(SPEC, **changes),  # type: ignore[arg-type]
        domain_type="qemu",
        arch=arch,
        uuid="5d3a7e1c-0000-4000-8000-000000000001",
        network="the-network",
        mac=MAC,
    )


def built(arch: str = "x86_64", **changes: object) -> ET.Element:
    return ET.fromstring(build(planned(arch, **changes)))


def drives(root: ET.Element) -> list[tuple[str, str, str, bool]]:
    """Kind, bus, name, and whether it is read only."""
    found = []
    for disk in root.iterfind("devices/disk"):
        target = disk.find("target")
        assert target is not None
        kind, read_only = disk.get("device", ""), disk.find("readonly") is not None
        found.append((kind, target.get("bus", ""), target.get("dev", ""), read_only))
    return found


def orders(root: ET.Element) -> dict[str, str | None]:
    return {
        device.get("device", device.tag): boot.get("order")
        for device in root.iterfind("devices/*")
        for boot in device.iterfind("boot")
    }


class DriveTests(SynchronousTestCase):
    def test_usual(self) -> None:
        """All is on virtio but a disc, which virtio has none of; the seed is a disk."""
        more = (ExtraDisk(image=QCOW2), ExtraDisk(image=QCOW2, bus="ide"))
        self.assertEqual(
            drives(built(disks=more, cdrom="/c.iso", seed="/s.iso")),
            [
                ("disk", "virtio", "vda", False),
                ("disk", "virtio", "vdb", False),
                ("disk", "ide", "hda", False),
                ("cdrom", "ide", "hdb", True),
                ("disk", "virtio", "vdc", True),
            ],
        )
        self.assertEqual(drives(built("aarch64", cdrom="/c.iso"))[1][:2], ("cdrom", "scsi"))

    def test_other_buses(self) -> None:
        """The bus asked for is that of every drive; SATA and IDE know read-only discs only."""
        for bus, seed in (("scsi", "disk"), ("sata", "cdrom"), ("ide", "cdrom")):
            found = drives(built(bus=bus, cdrom="/c.iso", seed="/s.iso"))
            self.assertEqual([drive[0] for drive in found], ["disk", "cdrom", seed])
            self.assertEqual({drive[1] for drive in found}, {bus})

    def test_scsi_controller(self) -> None:
        """SCSI has the controller that today's guests have a driver for."""
        controller = built(bus="scsi").find("devices/controller[@type='scsi']")
        assert controller is not None
        self.assertEqual(controller.get("model"), "virtio-scsi")
        self.assertIsNone(built().find("devices/controller[@type='scsi']"))

    @given(
        st.sampled_from(["", *BUSES]),
        st.lists(st.sampled_from(["", *BUSES]), max_size=15),
        st.booleans(),
        st.booleans(),
    )
    def test_names_differ(self, bus: str, more: list[str], disc: bool, seed: bool) -> None:
        """No two drives have one name, whatever they are on; no room is an error."""
        spec = dataclasses.replace(
            SPEC,
            bus=bus,
            disks=tuple(ExtraDisk(image=QCOW2, bus=each) for each in more),
            cdrom="/c.iso" if disc else "",
            seed="/s.iso" if seed else "",
        )
        try:
            found = drives_of(spec, "x86_64")
        except BadArgument as error:
            self.assertEqual(error.name, "options.bus")
            self.assertGreater([bus, *more].count("ide") + more.count("") + 3, IDE_DRIVES)
            return
        names = [drive.target for drive in found]
        self.assertEqual(len(set(names)), 1 + len(more) + disc + seed)
        self.assertLessEqual(sum(drive.bus == "ide" for drive in found), IDE_DRIVES)

    def test_too_many(self) -> None:
        """There is an end to drives."""
        more = tuple(ExtraDisk(image=QCOW2) for _ in range(30))
        self.assertRaises(BadArgument, planned, disks=more)

    def test_base_keeps_its_owner(self) -> None:
        """A clone's base is named with its format, and not given to QEMU's user if it need not."""
        clone = DiskImage(path="/c", format="qcow2", backing=("/base <&>",), base_format="raw")
        base = built(disk=clone).find("devices/disk/backingStore")
        assert base is not None
        self.assertEqual(ET.tostring(base, encoding="unicode").strip(), BASE)
        private = dataclasses.replace(clone, base_format="")
        self.assertIsNone(built(disk=private).find("devices/disk/backingStore"))
        self.assertEqual(parse(build(planned(disk=clone))).disks[0].path, "/c")

    def test_disc_keeps_its_owner(self) -> None:
        """Neither is a disc given to QEMU's user, if everybody may read it anyway."""
        for public, labels in ((True, 1), (False, 0)):
            root = built(cdrom="/c.iso", cdrom_is_public=public, seed="/s.iso")
            found = root.findall("devices/disk/source/seclabel[@relabel='no']")
            self.assertEqual(len(found), labels)
            disc = root.findall("devices/disk[@device='cdrom']/source/seclabel")
            self.assertEqual(len(disc), labels)


BASE = (
    '<backingStore type="file"><format type="raw" /><source file="/base &lt;&amp;&gt;">'
    '<seclabel model="dac" relabel="no" /></source><backingStore /></backingStore>'
)


class BootTests(SynchronousTestCase):
    def test_usual_order(self) -> None:
        """First the disk, then the disc that a system is installed from."""
        self.assertEqual(orders(built(cdrom="/c.iso")), {"disk": "1", "cdrom": "2"})
        self.assertEqual(orders(built()), {"disk": "1"})

    @given(st.lists(st.sampled_from(BOOT_DEVICES), unique=True, min_size=1))
    def test_order(self, order: list[str]) -> None:
        """What is asked for first is tried first; what isn't asked for isn't tried."""
        more = (ExtraDisk(image=QCOW2),)
        found = orders(built(boot_order=tuple(order), disks=more, cdrom="/c.iso"))
        names = {"network": "interface"}
        self.assertEqual(
            found, {names.get(device, device): str(n + 1) for n, device in enumerate(order)}
        )

    def test_kernel_boots_alone(self) -> None:
        """With a kernel from outside nothing else is booted."""
        self.assertEqual(orders(built(boot=DirectBoot(kernel="/k"), cdrom="/c.iso")), {})

    def test_firmware(self) -> None:
        """UEFI is libvirt's choice of file, without Secure Boot, which the machine can't."""
        os_element = built(firmware="uefi").find("os")
        assert os_element is not None
        self.assertEqual(os_element.get("firmware"), "efi")
        feature = os_element.find("firmware/feature")
        assert feature is not None
        self.assertEqual(feature.attrib, {"enabled": "no", "name": "secure-boot"})
        for firmware in ("", "bios"):
            self.assertIsNone(built(firmware=firmware).find("os[@firmware]"))

    def test_host_without_uefi(self) -> None:
        """A host that has no UEFI is seen by libvirt's answer; what to install is told."""
        answer = (
            "<domainCapabilities><os supported='yes'><enum name='firmware'>{}</enum></os>"
            "</domainCapabilities>"
        )
        self.assertTrue(offers_uefi(answer.format("<value>bios</value><value>efi</value>")))
        self.assertFalse(offers_uefi(answer.format("")))
        self.assertFalse(offers_uefi("<domainCapabilities/>"))
        self.assertIn("package ovmf", no_uefi("x86_64"))
        self.assertNotIn("package", no_uefi("s390x"))


class NetworkTests(SynchronousTestCase):
    def test_kinds(self) -> None:
        """Each kind of network is the NIC it is meant to be, and none is no NIC."""
        found = {}
        for network in ("nat", "isolated", "bridge", "none"):
            nic = built(network=network, bridge="br0").find("devices/interface")
            source = None if nic is None else nic.find("source")
            found[network] = None if source is None else source.attrib
        self.assertEqual(
            found,
            {
                "nat": {"network": "the-network"},
                "isolated": {"network": "the-network"},
                "bridge": {"bridge": "br0"},
                "none": None,
            },
        )
        self.assertEqual(parse(build(planned(network="bridge", bridge="br0"))).macs, (MAC,))

    def test_names_of_bridges(self) -> None:
        """A bridge's name is one that Linux can have."""
        for name in ("", ".", "..", "a/b", "a b", "x" * 16, "a\n", "a:1", "../../etc"):
            error = self.assertRaises(BadArgument, planned, network="bridge", bridge=name)
            self.assertEqual(error.name, "bridge")

    def test_bridges_of_the_host(self) -> None:
        """A bridge that is missing is told with those that are there."""
        sys_net = Path(self.mktemp())
        for name in ("br0/bridge", "br1/bridge", "eth0"):
            os.makedirs(sys_net / name)
        check_bridge("br0", str(sys_net))
        for name in ("eth0", "br2"):
            error = self.assertRaises(BadArgument, check_bridge, name, str(sys_net))
            self.assertIn("it has br0, br1", error.problem)

    def test_isolated(self) -> None:
        """The isolated network has an address for the host and guests, and no way out."""
        text = isolated_network("it's <isolated>", "10.9.8.0/28")
        root = ET.fromstring(text)
        self.assertEqual(root.findtext("name"), "it's <isolated>")
        ip, leases = root.find("ip"), root.find("ip/dhcp/range")
        assert ip is not None
        assert leases is not None
        self.assertEqual(ip.attrib, {"address": "10.9.8.1", "netmask": "255.255.255.240"})
        self.assertEqual(leases.attrib, {"start": "10.9.8.2", "end": "10.9.8.14"})
        self.assertTrue(is_isolated(text))
        self.assertFalse(is_isolated("<network><forward mode='nat'/></network>"))


class DetailsTests(SynchronousTestCase):
    def details(self, text: str):
        return details(text, nat="the-network", isolated="alone")

    def test_read_back(self) -> None:
        """What a machine was made with is what its definition tells."""
        told = self.details(
            build(
                planned(
                    memory_mib=300,
                    vcpus=3,
                    firmware="uefi",
                    description="a\n<b>",
                    bus="scsi",
                    seed="/s.iso",
                )
            )
        )
        self.assertEqual((told.memory_mib, told.vcpus), (300, 3))
        self.assertEqual((told.firmware, told.description), ("uefi", "a\n<b>"))
        self.assertEqual(
            [(disk.path, disk.bus, disk.read_only) for disk in told.disks],
            [("/images/a.qcow2", "scsi", False), ("/s.iso", "scsi", True)],
        )

    def test_networks(self) -> None:
        """A network is told by what it is behind, also of machines that others made."""
        self.assertEqual(self.details(build(planned())).network, "nat")
        bridge = build(planned(network="bridge", bridge="b"))
        self.assertEqual(self.details(bridge).network, "bridge")
        self.assertEqual(self.details(build(planned(network="none"))).network, "none")
        nic = (
            "<domain><devices><interface type='{}'><source network='{}'/></interface></devices>"
            "</domain>"
        )
        self.assertEqual(self.details(nic.format("network", "alone")).network, "isolated")
        self.assertEqual(self.details(nic.format("network", "lab")).network, "other")
        self.assertEqual(self.details(nic.format("user", "")).network, "other")

    def test_almost_nothing(self) -> None:
        """A definition without the usual parts is told as far as it goes."""
        told = self.details("<domain><os><loader type='pflash'>/f</loader></os></domain>")
        self.assertEqual((told.memory_mib, told.vcpus, told.firmware), (0, 1, "uefi"))


class TextTests(SynchronousTestCase):
    def test_what_xml_cannot_carry(self) -> None:
        """A text that would not come back as it was is refused by the option's name."""
        for argument, changes in {
            "description": {"description": "a\x07"},
            "cdrom": {"cdrom": "/c\udc80"},
            "disks[0]": {"disks": (ExtraDisk(image=DiskImage(path="/\x01", format="raw")),)},
        }.items():
            self.assertEqual(self.assertRaises(BadArgument, planned, **changes).name, argument)

    @given(
        st.text(
            st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff"),
            min_size=1,
        )
    )
    def test_texts_come_back(self, text: str) -> None:
        """No description or path breaks out of its element."""
        told = details(
            build(
                planned(
                    description=text,
                    cdrom=text,
                    disks=(ExtraDisk(image=DiskImage(path=text, format="raw")),),
                )
            ),
            nat="",
            isolated="",
        )
        self.assertEqual(told.description, text)
        self.assertEqual([disk.path for disk in told.disks], [QCOW2.path, text, text])


class NeedsTests(SynchronousTestCase):
    def test_needs(self) -> None:
        """What a specification needs is refused where it isn't, by name, and only there."""
        for capability, changes in (
            (Capability.DIRECT_BOOT, {"boot": DirectBoot(kernel="/k")}),
            (Capability.DEVICES, {"disks": (ExtraDisk(image=QCOW2),)}),
            (Capability.DEVICES, {"bus": "ide"}),
            (Capability.DEVICES, {"cdrom": "/c"}),
            (Capability.DEVICES, {"boot_order": ("disk",)}),
            (Capability.FIRMWARE, {"firmware": "bios"}),
            (Capability.SEEDS, {"seed": "/s"}),
            (Capability.NETWORKS, {"network": "isolated"}),
        ):
            spec = dataclasses.replace(SPEC, **changes)  # type: ignore[arg-type]
            check_supported("x", frozenset({capability}), spec)
            others = frozenset(Capability) - {capability}
            self.assertRaises(Unsupported, check_supported, "x", others, spec)
        check_supported("x", frozenset(), SPEC)
