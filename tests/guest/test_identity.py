"""Who this guest is, by its interfaces and routes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.common.config import VmConfig
from vmcontroller.guest.identity import (
    choose_id,
    choose_interface,
    describe,
    named,
    read_boot_id,
    read_load,
)
from vmcontroller.guest.network import (
    DefaultRoute,
    Interface,
    default_routes,
    read_default_routes,
    read_interfaces,
)
from vmcontroller.guest.smbios import read_uuid

ETH0 = Interface(name="eth0", mac="52:54:00:00:00:01", physical=True)
ETH1 = Interface(name="eth1", mac="52:54:00:00:00:02", physical=True)
BRIDGE = Interface(name="br0", mac="52:54:00:00:00:03")

IPV4 = """\
Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth1	00000000	0100000A	0003	0	0	200	00000000	0	0	0
eth0	00000000	017AA8C0	0003	0	0	100	00000000	0	0	0
ppp0	00000000	00000000	0001	0	0	300	00000000	0	0	0
eth0	007AA8C0	00000000	0001	0	0	100	00FFFFFF	0	0	0
"""
_ZERO = "0" * 32
IPV6 = f"""\
{_ZERO} 00 {_ZERO} 00 fe800000000000000000000000000001 00000400 00000002 00000000 00450003     eth0
{_ZERO} 00 {_ZERO} 00 fd000000000000000000000000000001 00000100 00000002 00000000 00000003     eth1
{_ZERO} 00 {_ZERO} 00 {_ZERO} ffffffff 00000001 00000000 00200200       lo
fd000000000000000000000000000000 40 {_ZERO} 00 {_ZERO} 00000100 00000001 00000000 00000001     eth1
"""


class RoutesTests(SynchronousTestCase):
    """The kernel's tables."""

    def test_order(self) -> None:
        """IPv4 goes before IPv6, a low metric before a high one; other routes are left out."""
        self.assertEqual(
            default_routes(IPV4, IPV6),
            (
                DefaultRoute(interface="eth0", gateway="192.168.122.1"),
                DefaultRoute(interface="eth1", gateway="10.0.0.1"),
                DefaultRoute(interface="ppp0", gateway=""),
                DefaultRoute(interface="eth1", gateway="fd00::1"),
                DefaultRoute(interface="eth0", gateway="fe80::1%eth0"),
            ),
        )

    @given(st.text(), st.text())
    def test_any_text(self, ipv4: str, ipv6: str) -> None:
        """No text raises."""
        default_routes(ipv4, ipv6)

    @given(st.lists(st.lists(st.sampled_from(["0", "3", "x", "-1", "F" * 20]), max_size=12)))
    def test_any_fields(self, lines: list[list[str]]) -> None:
        """Lines of the right shape with wrong values don't raise either."""
        text = "\n".join(" ".join(fields) for fields in lines)
        default_routes(text, text)

    def test_this_machine(self) -> None:
        """The real tables and interfaces of the machine under test can be read."""
        names = {interface.name for interface in read_interfaces()}
        self.assertNotIn("lo", names)
        for route in read_default_routes():
            self.assertTrue(route.interface)


class ChoiceTests(SynchronousTestCase):
    """Which interface names the guest."""

    def test_default_route_decides(self) -> None:
        """The interface towards the gateway goes before the first."""
        route = DefaultRoute(interface="eth1", gateway="10.0.0.1")
        self.assertEqual(choose_interface("auto", (BRIDGE, ETH0, ETH1), (route,)), ETH1)

    def test_route_through_what_has_no_mac(self) -> None:
        """A tunnel can't name the guest: the next route, else a device, does."""
        tunnel = DefaultRoute(interface="tun0", gateway="")
        self.assertEqual(choose_interface("auto", (BRIDGE, ETH0), (tunnel,)), ETH0)

    def test_no_network_yet(self) -> None:
        """Without a route it is the first with a device behind it, else the first at all."""
        self.assertEqual(choose_interface("auto", (BRIDGE, ETH0, ETH1), ()), ETH0)
        self.assertEqual(choose_interface("auto", (BRIDGE,), ()), BRIDGE)
        self.assertIsNone(choose_interface("auto", (), ()))

    def test_configured(self) -> None:
        """A configured interface is taken, or none: never another one."""
        route = DefaultRoute(interface="eth0", gateway="10.0.0.1")
        self.assertEqual(choose_interface("br0", (ETH0, BRIDGE), (route,)), BRIDGE)
        self.assertIsNone(choose_interface("eth7", (ETH0, BRIDGE), (route,)))


class DescribeTests(SynchronousTestCase):
    """The descriptor of HELLO."""

    def test_configured_id(self) -> None:
        """`vm.id` names the guest, even where no interface does."""
        config = VmConfig(id="52:54:00:aa:bb:cc", network_interface="no-such-interface")
        descriptor = describe(config)
        self.assertEqual(descriptor.id, "52:54:00:AA:BB:CC")

    def test_nothing_to_be_named_by(self) -> None:
        """Without an interface it is the VM's UUID; without that nothing, and the broker tells."""
        nothing = VmConfig(network_interface="no-such-interface")
        self.assertIsNone(choose_id(nothing, None, ""))
        own = choose_id(nothing, None, "11111111-1111-4111-8111-111111111111")
        assert own is not None
        self.assertEqual(own, choose_id(nothing, None, "11111111-1111-4111-8111-111111111111"))
        self.assertEqual(own[:3], "02:", "locally administered")
        self.assertEqual(describe(nothing).id, choose_id(nothing, None, read_uuid()) or "")

    def test_the_connection_counts(self) -> None:
        """Who this guest is on its connection goes before what its devices say."""
        self.assertEqual(named(describe(VmConfig()), "52:54:00:00:00:09").id, "52:54:00:00:00:09")

    def test_this_system(self) -> None:
        """It has a name, a boot and a load, for whoever looks at its guests."""
        self.assertTrue(describe(VmConfig()).os)
        self.assertTrue(read_boot_id())
        self.assertGreaterEqual(read_load(), 0)
