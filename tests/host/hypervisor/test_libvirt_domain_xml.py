"""Domain XML: what is built is read back, whatever the names; edits touch one string only."""

from __future__ import annotations

import dataclasses
import xml.etree.ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.common.channel import CHANNEL_NAME
from vmcontroller.host.hypervisor.base import VmDisk
from vmcontroller.host.hypervisor.libvirt.domain_told import (
    BROKER_KEY,
    CREDENTIAL_KEY,
    with_told,
)
from vmcontroller.host.hypervisor.libvirt.domain_view import parse
from vmcontroller.host.hypervisor.libvirt.domain_xml import NAMESPACE, DomainPlan, build
from vmcontroller.host.hypervisor.libvirt.drives import Drive
from vmcontroller.host.hypervisor.specification import DirectBoot, DiskImage


def drive(path: str, image_format: str = "qcow2") -> Drive:
    """A first disk."""
    return Drive(image=DiskImage(path=path, format=image_format), bus="virtio", target="vda")


PLAN = DomainPlan(
    domain_type="qemu",
    arch="x86_64",
    name="plain",
    uuid="5d3a7e1c-0000-4000-8000-000000000001",
    memory_mib=512,
    vcpus=2,
    drives=(
        Drive(image=DiskImage(path="/images/a.qcow2", format="qcow2"), bus="virtio", target="vda"),
    ),
    network="default",
    mac="52:54:00:AB:CD:EF",
)

xml_text = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff"), min_size=1
)

FOREIGN = """<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>foreign</name><uuid>5D3A7E1C-0000-4000-8000-000000000002</uuid>
  <memory unit='GiB'>2</memory><vcpu placement='static' current='1'>4</vcpu>
  <os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type><smbios mode='sysinfo'/></os>
  <sysinfo type='fwcfg'><entry name='opt/x'>y</entry></sysinfo>
  <sysinfo type='smbios'><oemStrings><entry>theirs=1</entry>
    <entry>vmcontroller.broker=10.0.0.1:1</entry></oemStrings></sysinfo>
  <devices>
    <disk type='file' device='disk'><source file='/images/a b.img'/></disk>
    <disk type='block' device='disk'><driver name='qemu' type='raw'/><source dev='/dev/vg/lv'/>
    </disk>
    <disk type='file' device='cdrom'><source file='/images/tools.iso'/></disk>
    <disk type='file' device='cdrom'/>
    <interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='br0'/></interface>
    <interface type='network'><mac address='52:54:00:00:00:02'/><source network='n1'/></interface>
    <interface type='network'><mac address='52:54:00:00:00:03'/><source network='n1'/></interface>
  </devices>
  <qemu:commandline><qemu:arg value='-foo'/></qemu:commandline>
</domain>"""


def strings(text: str) -> list[str | None]:
    """The SMBIOS strings of a definition."""
    return [entry.text for entry in ET.fromstring(text).iterfind("sysinfo/oemStrings/entry")]


class BuildTests(SynchronousTestCase):
    @given(name=xml_text, path=xml_text, cmdline=xml_text)
    def test_what_is_built_is_read_back(self, name: str, path: str, cmdline: str) -> None:
        """No text breaks out of its element or comes back as another."""
        boot = DirectBoot(kernel=path, initrd=path, cmdline=cmdline)
        plan = dataclasses.replace(
            PLAN, name=name, drives=(drive(path, "raw"),), boot=boot, description=cmdline
        )
        text = build(plan)
        view = parse(text)
        self.assertEqual((view.name, view.uuid), (name, plan.uuid))
        self.assertEqual(view.disks, (VmDisk(path=path, format="raw", bus="virtio"),))
        self.assertEqual((view.macs, view.networks), (("52:54:00:AB:CD:EF",), ("default",)))
        root = ET.fromstring(text)
        for tag in ("kernel", "initrd"):
            self.assertEqual(root.findtext(f"os/{tag}"), path)
        self.assertEqual(root.findtext("os/cmdline"), cmdline)

    def test_size_and_mark(self) -> None:
        """A machine gets the memory and processors asked for, and is marked as made here."""
        root = ET.fromstring(build(PLAN))
        memory = root.find("memory")
        assert memory is not None
        self.assertEqual((memory.text, memory.get("unit")), (str(512 * 1024), "KiB"))
        self.assertEqual((root.findtext("vcpu"), root.get("type")), ("2", "qemu"))
        self.assertIsNotNone(root.find(f"metadata/{{{NAMESPACE}}}made-here"))

    def test_disk_states_its_format(self) -> None:
        """QEMU is never left to guess a format from content that a guest can write."""
        for image_format in ("qcow2", "raw", "vmdk"):
            plan = dataclasses.replace(PLAN, drives=(drive("/x", image_format),))
            driver = ET.fromstring(build(plan)).find("devices/disk/driver")
            assert driver is not None
            self.assertEqual(driver.attrib, {"name": "qemu", "type": image_format})

    def test_no_network_is_no_nic(self) -> None:
        """A machine without a network has neither NIC nor MAC address."""
        view = parse(build(dataclasses.replace(PLAN, network="", mac="")))
        self.assertEqual((view.macs, view.networks), ((), ()))

    def test_processor_follows_the_accelerator(self) -> None:
        """KVM passes the host's processor on, TCG shows all it can, the mock has no say."""
        modes = {}
        for domain_type in ("kvm", "qemu", "test"):
            root = ET.fromstring(build(dataclasses.replace(PLAN, domain_type=domain_type)))
            cpu = root.find("cpu")
            modes[domain_type] = None if cpu is None else cpu.get("mode")
        self.assertEqual(modes, {"kvm": "host-passthrough", "qemu": "maximum", "test": None})

    def test_agent_channel_only_where_its_socket_can_be(self) -> None:
        """A long name outside ASCII would make the socket's path too long for a start."""
        for name, expected in {"n" * 200: True, "ж" * 16: True, "ж" * 17: False}.items():
            root = ET.fromstring(build(dataclasses.replace(PLAN, name=name)))
            self.assertEqual(root.find("devices/channel") is not None, expected, name)

    def test_own_channel(self) -> None:
        """A machine has our agent's channel; libvirt names its socket, where the name is not too
        long for that. Then one without a network has a name of its own for it, as it has to.
        """
        short, long = "ж" * 15, "ж" * 16
        for name, network, expected in (
            (short, "default", ("", True)),
            (short, "", ("", True)),
            (long, "default", ("", False)),
            (long, "", (f"/run/libvirt/qemu/vmcontroller-{PLAN.uuid}", True)),
        ):
            text = build(dataclasses.replace(PLAN, name=name, network=network))
            is_there = f'name="{CHANNEL_NAME}"' in text
            self.assertEqual((parse(text).channel, is_there), expected)

    def test_acpi_only_where_it_is(self) -> None:
        """Only a PC gets PC features."""
        self.assertIsNotNone(ET.fromstring(build(PLAN)).find("features/acpi"))
        arm = dataclasses.replace(PLAN, arch="aarch64")
        self.assertIsNone(ET.fromstring(build(arm)).find("features"))


class ParseTests(SynchronousTestCase):
    def test_machines_of_others(self) -> None:
        """Others' machines are read too: every NIC, each disk and disc that has a file."""
        view = parse(FOREIGN)
        self.assertEqual(view.uuid, "5d3a7e1c-0000-4000-8000-000000000002")
        self.assertEqual(
            view.disks,
            (
                VmDisk(path="/images/a b.img"),
                VmDisk(path="/dev/vg/lv", format="raw"),
                VmDisk(path="/images/tools.iso", read_only=True),
            ),
        )
        self.assertEqual(view.networks, ("n1",))
        self.assertEqual(len(view.macs), 3)

    def test_channel_of_a_running_machine(self) -> None:
        """The socket of our own channel is read, not that of another's."""
        channel = (
            "<channel type='unix'><source mode='bind' path='{0}'/>"
            "<target type='virtio' name='{1}'/></channel>"
        )
        text = (
            "<domain><devices>"
            + channel.format("/run/theirs", "org.qemu.guest_agent.0")
            + channel.format("/run/ours", CHANNEL_NAME)
            + "</devices></domain>"
        )
        self.assertEqual(parse(text).channel, "/run/ours")
        self.assertEqual(parse(FOREIGN).channel, "")

    def test_almost_nothing(self) -> None:
        """A definition without the usual parts is no reason to fail a listing."""
        view = parse("<domain><name>x</name></domain>")
        self.assertEqual((view.uuid, view.disks, view.macs), ("", (), ()))


class BrokerStringTests(SynchronousTestCase):
    def test_string_is_added_once(self) -> None:
        """A second start with the same broker changes nothing."""
        text = with_told(build(PLAN), {BROKER_KEY: "192.168.122.1:61613"})
        assert text is not None
        self.assertEqual(strings(text), ["vmcontroller.broker=192.168.122.1:61613"])
        self.assertIsNotNone(ET.fromstring(text).find("os/smbios[@mode='sysinfo']"))
        self.assertIsNone(with_told(text, {BROKER_KEY: "192.168.122.1:61613"}))

    def test_other_strings_stay(self) -> None:
        """Only our entry is replaced; others' strings, tables and extensions stay."""
        text = with_told(FOREIGN, {BROKER_KEY: "[fd00::1]:2"})
        assert text is not None
        root = ET.fromstring(text)
        self.assertEqual(strings(text), ["theirs=1", "vmcontroller.broker=[fd00::1]:2"])
        self.assertEqual(root.findtext("sysinfo[@type='fwcfg']/entry"), "y")
        self.assertIn("qemu:commandline", text)

    def test_stale_string_is_taken_out(self) -> None:
        """Where no broker is known an old address goes, and no empty table is left."""
        text = with_told(build(PLAN), {BROKER_KEY: "10.0.0.1:1"})
        assert text is not None
        bare = with_told(text, {BROKER_KEY: ""})
        assert bare is not None
        self.assertIsNone(ET.fromstring(bare).find("sysinfo/oemStrings"))
        self.assertIsNone(with_told(bare, {BROKER_KEY: ""}))

    def test_broker_and_credential_side_by_side(self) -> None:
        """Each is replaced by itself, and whose credential it is can be read."""
        both = {BROKER_KEY: "10.0.0.1:1", CREDENTIAL_KEY: "uuid:1-a"}
        text = with_told(build(PLAN), both)
        assert text is not None
        self.assertEqual((parse(text).told_login, parse(text).told_passcode), ("uuid", "1-a"))
        self.assertIsNone(with_told(text, both))
        changed = with_told(text, {CREDENTIAL_KEY: "other:2-b"})
        assert changed is not None
        self.assertEqual(
            strings(changed),
            ["vmcontroller.broker=10.0.0.1:1", "vmcontroller.credential=other:2-b"],
        )
        self.assertEqual(parse(build(PLAN)).told_login, "")

    def test_hidden_table_is_shown(self) -> None:
        """The string alone is not enough: the guest must be shown the table."""
        hidden = FOREIGN.replace("<smbios mode='sysinfo'/>", "<smbios mode='emulate'/>")
        text = with_told(hidden, {BROKER_KEY: "10.0.0.1:1"})
        assert text is not None
        self.assertIn('<smbios mode="sysinfo" />', text)

    def test_definition_without_an_os(self) -> None:
        """A definition without <os> gets one."""
        text = with_told("<domain><name>x</name></domain>", {BROKER_KEY: "10.0.0.1:1"})
        assert text is not None
        self.assertEqual(strings(text), ["vmcontroller.broker=10.0.0.1:1"])
