"""The small pure parts of the libvirt backend: states, errors, plans, addresses, drivers."""

from __future__ import annotations

import libvirt
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.common.errors import (
    BadArgument,
    Busy,
    ConfigError,
    HypervisorError,
    HypervisorUnreachable,
    NoSuchVM,
    VMExists,
)
from vmcontroller.host.hypervisor.base import AgentAddress, Capability
from vmcontroller.host.hypervisor.libvirt.broker_address import broker_for
from vmcontroller.host.hypervisor.libvirt.domain_xml import DomainPlan
from vmcontroller.host.hypervisor.libvirt.drivers import driver_of
from vmcontroller.host.hypervisor.libvirt.errors import translate
from vmcontroller.host.hypervisor.libvirt.host_xml import host_facts, network_addresses
from vmcontroller.host.hypervisor.libvirt.plan import MAX_NAME_BYTES, check_name, plan
from vmcontroller.host.hypervisor.libvirt.states import event_state, vm_state
from vmcontroller.host.hypervisor.specification import DirectBoot, DiskImage, VmSpec
from vmcontroller.host.hypervisor.vm_state import VmState

CAPABILITIES = """<capabilities><host><cpu><arch>x86_64</arch></cpu></host>
  <guest><os_type>hvm</os_type><arch name='i686'><emulator>/q32</emulator>
    <domain type='qemu'/></arch></guest>
  <guest><os_type>exe</os_type><arch name='x86_64'><domain type='lxc'/></arch></guest>
  <guest><os_type>hvm</os_type><arch name='x86_64'><emulator>/q64</emulator>
    <domain type='qemu'/><domain type='kvm'><emulator>/kvm</emulator></domain></arch></guest>
</capabilities>"""


def libvirt_error(code: int, domain: int = 10) -> libvirt.libvirtError:
    error = libvirt.libvirtError("said")
    error.err = (code, domain, "said libvirt", 2, None, None, None, -1, -1)
    return error


class StateTests(SynchronousTestCase):
    def test_states(self) -> None:
        """Each of libvirt's states is one of ours; a number of a later libvirt is Unknown."""
        table = {
            (libvirt.VIR_DOMAIN_RUNNING, 1): VmState.RUNNING,
            (libvirt.VIR_DOMAIN_BLOCKED, 0): VmState.RUNNING,
            (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_USER): VmState.PAUSED,
            (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_SAVE): VmState.SAVING,
            (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_STARTING_UP): VmState.STARTING,
            (libvirt.VIR_DOMAIN_SHUTDOWN, 0): VmState.STOPPING,
            (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN): VmState.POWERED_OFF,
            (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED): VmState.POWERED_OFF,
            (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_CRASHED): VmState.ABORTED,
            (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_FAILED): VmState.ABORTED,
            (libvirt.VIR_DOMAIN_CRASHED, 0): VmState.ABORTED,
            (libvirt.VIR_DOMAIN_PMSUSPENDED, 0): VmState.PAUSED,
            (99, 0): VmState.UNKNOWN,
        }
        for (state, reason), expected in table.items():
            self.assertEqual(vm_state(state, reason), expected, (state, reason))

    def test_saved_image_decides(self) -> None:
        """A machine that is off with saved memory is Saved, one that runs is not."""
        crashed = (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_CRASHED)
        self.assertEqual(vm_state(*crashed, has_saved_image=True), VmState.SAVED)
        running = vm_state(libvirt.VIR_DOMAIN_RUNNING, 0, has_saved_image=True)
        self.assertEqual(running, VmState.RUNNING)

    def test_events(self) -> None:
        """How a machine stopped is told; events that change no state are none."""
        stopped = libvirt.VIR_DOMAIN_EVENT_STOPPED
        table = {
            (stopped, libvirt.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN): VmState.POWERED_OFF,
            (stopped, libvirt.VIR_DOMAIN_EVENT_STOPPED_DESTROYED): VmState.POWERED_OFF,
            (stopped, libvirt.VIR_DOMAIN_EVENT_STOPPED_CRASHED): VmState.ABORTED,
            (stopped, libvirt.VIR_DOMAIN_EVENT_STOPPED_FAILED): VmState.ABORTED,
            (stopped, libvirt.VIR_DOMAIN_EVENT_STOPPED_SAVED): VmState.SAVED,
            (libvirt.VIR_DOMAIN_EVENT_STARTED, 0): VmState.RUNNING,
            (libvirt.VIR_DOMAIN_EVENT_SUSPENDED, 0): VmState.PAUSED,
            (libvirt.VIR_DOMAIN_EVENT_SHUTDOWN, 0): VmState.STOPPING,
            (libvirt.VIR_DOMAIN_EVENT_DEFINED, 0): None,
            (99, 0): None,
        }
        for (event, detail), expected in table.items():
            self.assertEqual(event_state(event, detail), expected, (event, detail))


class ErrorTests(SynchronousTestCase):
    def test_codes(self) -> None:
        """The code decides the class, and the text is libvirt's own."""
        table = {
            (libvirt.VIR_ERR_NO_DOMAIN, 10): NoSuchVM,
            (libvirt.VIR_ERR_DOM_EXIST, 10): VMExists,
            (libvirt.VIR_ERR_NO_CONNECT, 10): HypervisorUnreachable,
            (libvirt.VIR_ERR_INVALID_CONN, 10): HypervisorUnreachable,
            (libvirt.VIR_ERR_AUTH_FAILED, 10): HypervisorUnreachable,
            (libvirt.VIR_ERR_INTERNAL_ERROR, libvirt.VIR_FROM_RPC): HypervisorUnreachable,
            (libvirt.VIR_ERR_INTERNAL_ERROR, libvirt.VIR_FROM_QEMU): HypervisorError,
            (libvirt.VIR_ERR_SYSTEM_ERROR, libvirt.VIR_FROM_REMOTE): HypervisorUnreachable,
            (libvirt.VIR_ERR_XML_ERROR, 10): HypervisorError,
            (libvirt.VIR_ERR_OPERATION_TIMEOUT, 10): Busy,
        }
        for (code, domain), expected in table.items():
            error = translate(libvirt_error(code, domain), vm="web")
            self.assertIs(type(error), expected, (code, domain))
        refused = translate(libvirt_error(libvirt.VIR_ERR_XML_ERROR))
        assert isinstance(refused, HypervisorError)
        self.assertEqual((refused.backend, refused.detail), ("libvirt", "said libvirt"))
        unknown = translate(libvirt_error(libvirt.VIR_ERR_NO_DOMAIN), vm="web")
        assert isinstance(unknown, NoSuchVM)
        self.assertEqual(unknown.vm, "web")

    def test_error_without_details(self) -> None:
        """An error that the binding made itself has a text, too."""
        error = translate(libvirt.libvirtError("virDomainCreate() failed"))
        self.assertIn("virDomainCreate", str(error))


class PlanTests(SynchronousTestCase):
    def planned(self, **changes: object) -> DomainPlan:
        fields: dict[str, object] = {
            "name": "web",
            "image": "/a.img",
            "disk": DiskImage(path="/a.img", format="raw"),
        }
        return plan(
            VmSpec(**{**fields, **changes}),  # type: ignore[arg-type]
            domain_type="qemu",
            arch="x86_64",
            uuid="u",
            network="default",
            mac="52:54:00:00:00:01",
        )

    def test_network(self) -> None:
        """Nat is the configured network, none is no NIC, all else is refused by its name."""
        nat, none = self.planned(), self.planned(network="none")
        self.assertEqual((nat.network, nat.mac), ("default", "52:54:00:00:00:01"))
        self.assertEqual((none.network, none.mac), ("", ""))
        self.assertEqual(
            self.assertRaises(BadArgument, self.planned, network="moon").name, "network"
        )

    def test_refused(self) -> None:
        """What libvirt could not be told is refused by the name of the argument."""
        for argument, changes in {
            "image": {"disk": None},
            "memory": {"memory_mib": 0},
            "vcpus": {"vcpus": 0},
            "kernel": {"boot": DirectBoot(kernel="/k\x00")},
            "initrd": {"boot": DirectBoot(kernel="/k", initrd="\udc80")},
            "cmdline": {"boot": DirectBoot(kernel="/k", cmdline="a\x1bb")},
        }.items():
            error = self.assertRaises(BadArgument, self.planned, **changes)
            self.assertEqual(error.name, argument)

    def test_kernel_without_a_disk(self) -> None:
        """An initrd can be all there is."""
        self.assertEqual(self.planned(disk=None, boot=DirectBoot(kernel="/k")).drives, ())

    @given(st.text())
    def test_names(self, name: str) -> None:
        """A name that passes can be carried by XML and be a file's."""
        try:
            check_name(name)
        except BadArgument as error:
            self.assertEqual(error.name, "name")
        else:
            self.assertLessEqual(len(name.encode()), MAX_NAME_BYTES)
            self.assertNotIn("/", name)
            self.assertTrue(name.strip())
            self.assertFalse(any(ord(character) < 32 for character in name))


class HostTests(SynchronousTestCase):
    def test_facts_are_of_the_own_architecture(self) -> None:
        """Other architectures and containers don't count; a type's own emulator does."""
        facts = host_facts(CAPABILITIES)
        self.assertEqual(facts.arch, "x86_64")
        self.assertEqual(facts.emulators, {"qemu": "/q64", "kvm": "/kvm"})
        self.assertEqual(facts.domain_types, {"qemu", "kvm"})

    def test_nothing_offered(self) -> None:
        """A host without full virtualization offers nothing, and that is no error here."""
        facts = host_facts("<capabilities><host/></capabilities>")
        self.assertEqual(facts.domain_types, frozenset())

    def test_network_addresses(self) -> None:
        """IPv4 comes first; a bridge without addresses of the host's has none."""
        text = "<network><ip family='ipv6' address='fd00::1'/><ip address='10.1.0.1'/></network>"
        self.assertEqual(network_addresses(text), ("10.1.0.1", "fd00::1"))
        self.assertEqual(network_addresses("<network><bridge name='br0'/></network>"), ())


class BrokerAddressTests(SynchronousTestCase):
    def test_choice(self) -> None:
        """The host's own address in the guest's network, if the broker listens there."""
        table: list[tuple[tuple[str, ...], tuple[str, ...], str]] = [
            ((), ("192.168.122.1",), "192.168.122.1:9"),
            (("127.0.0.1", "192.168.122.1"), ("192.168.122.1",), "192.168.122.1:9"),
            (("0.0.0.0",), ("192.168.122.1",), "192.168.122.1:9"),
            (("fd00:0::1",), ("192.168.122.1", "fd00::1"), "[fd00::1]:9"),
            (("127.0.0.1",), ("192.168.122.1",), ""),
            (("127.0.0.1", "10.0.0.5"), (), "10.0.0.5:9"),
            (("127.0.0.1",), (), ""),
            (("0.0.0.0",), (), ""),
            (("a-name",), (), ""),
            ((), (), ""),
        ]
        for hosts, reachable, expected in table:
            answer = broker_for(AgentAddress(port=9, hosts=hosts), reachable)
            self.assertEqual(answer, expected, (hosts, reachable))

    def test_broker_elsewhere(self) -> None:
        """A broker that is not this host's is told as it is, a name, too."""
        for host, expected in (
            ("10.9.9.9", "10.9.9.9:9"),
            ("mq.example.org", "mq.example.org:9"),
            ("fd00::9", "[fd00::9]:9"),
        ):
            agent = AgentAddress(port=9, hosts=(host,), elsewhere=True)
            self.assertEqual(broker_for(agent, ("192.168.122.1",)), expected)


class DriverTests(SynchronousTestCase):
    def test_uris(self) -> None:
        """The URI tells the driver, and whether this machine's files are meant."""
        local = driver_of("qemu:///system")
        self.assertTrue(local.is_local)
        self.assertEqual(local.capabilities, frozenset(Capability))
        there = driver_of("qemu+ssh://root@there/system")
        self.assertFalse(there.is_local)
        self.assertFalse(there.capabilities & {Capability.CLONES, Capability.SEEDS})
        self.assertTrue(driver_of("qemu+unix:///system?socket=/s").is_local)
        self.assertNotIn(Capability.DIRECT_BOOT, driver_of("test:///default").capabilities)

    def test_strangers(self) -> None:
        """Another hypervisor's URI is an error of the configuration that names the key."""
        for uri in ("xen:///", "", "http://x"):
            self.assertEqual(self.assertRaises(ConfigError, driver_of, uri).key, "uri")
