"""The channels of running VMs: followed as they come and go, each session a guest of the broker."""

from __future__ import annotations

from dataclasses import replace

from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectError, ConnectionDone
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Protocol
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tests.common.cable import Cable
from vmcontroller.common.channel import ANY_SESSION, Deframer, Kind
from vmcontroller.common.destinations import CONNECTIONS, REQUESTS, requests_of
from vmcontroller.common.errors import HypervisorUnreachable
from vmcontroller.common.model import GuestId, id_of_uuid
from vmcontroller.common.stomp.client import ReconnectDelays, StompClient
from vmcontroller.guest.channel import CallingPort
from vmcontroller.host.broker.factory import StompFactory
from vmcontroller.host.broker.limits import BrokerLimits
from vmcontroller.host.broker.rights import Principal, Role
from vmcontroller.host.broker.vm_rights import VmRights
from vmcontroller.host.channels import LOOK_DELAY_S, LOOK_RETRY_S, AnsweringPort, Channels
from vmcontroller.host.hypervisor.base import Vm, VmChanged
from vmcontroller.host.hypervisor.vm_state import VmState

VM = Vm(
    uuid="5d3a7e1c-0000-4000-8000-000000000001",
    name="alone",
    state=VmState.RUNNING,
    channel="/run/a",
)
OTHER = replace(VM, uuid=VM.uuid[:-1] + "2", name="other", channel="/run/b")
ID = id_of_uuid(VM.uuid)


class FollowTests(SynchronousTestCase):
    """Which sockets are connected to, and when."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.vms: tuple[Vm, ...] = ()
        self.answer: Deferred[tuple[Vm, ...]] | None = None
        self.reads = 0
        self.built: list[str] = []
        self.channels = Channels(
            reactor=self.reactor,
            list_vms=self.list_vms,
            is_ours=lambda vm: vm.told_login != "another's",
            build=self.build,
            delays=lambda: ReconnectDelays(first_s=1, most_s=1),
        )

    def list_vms(self):
        self.reads += 1
        return succeed(self.vms) if self.answer is None else self.answer

    def build(self, vm: Vm) -> Protocol:
        self.built.append(vm.name)
        return Protocol()

    def tried(self) -> list[str]:
        """Return the paths of the attempts so far."""
        return [attempt[0] for attempt in self.reactor.unixClients]

    def connect(self, number: int) -> tuple[AnsweringPort, StringTransport]:
        """Let an attempt succeed."""
        factory = self.reactor.unixClients[number][1]
        port = factory.buildProtocol(UNIXAddress(b"x"))
        transport = StringTransport()
        transport.abortConnection = transport.loseConnection
        port.makeConnection(transport)
        return port._wrappedProtocol, transport

    def refuse(self, number: int) -> None:
        """Let an attempt fail."""
        factory = self.reactor.unixClients[number][1]
        factory.clientConnectionFailed(None, Failure(ConnectError("no such file")))

    def test_those_that_run_and_have_one(self) -> None:
        """A socket is connected to where there is one and its machine is not off."""
        off = replace(OTHER, state=VmState.POWERED_OFF)
        paused = replace(OTHER, uuid="p", channel="/run/p", state=VmState.PAUSED)
        self.channels.follow((VM, off, paused, replace(VM, uuid="n", channel="")))
        self.assertEqual(self.tried(), ["/run/a", "/run/p"])
        self.channels.follow((VM, off, paused))
        self.assertEqual(len(self.tried()), 2)

    def test_those_of_another_daemon(self) -> None:
        """A machine that another daemon has told how to log in is left to that."""
        self.channels.follow((replace(VM, told_login="another's"), OTHER))
        self.assertEqual(self.tried(), ["/run/b"])

    def test_first_word(self) -> None:
        """Who connects says first that whatever session there was is over."""
        self.channels.follow((VM,))
        _, transport = self.connect(0)
        deframer = Deframer()
        deframer.push(transport.value())
        frame = deframer.next_frame()
        self.assertEqual((frame.kind, frame.session), (Kind.CLOSE, ANY_SESSION))

    def test_refused_and_lost(self) -> None:
        """A socket that is not there yet, or was lost, is tried again, with a pause."""
        self.channels.follow((VM,))
        self.refuse(0)
        self.assertEqual(len(self.tried()), 1)
        self.reactor.advance(1)
        self.assertEqual(len(self.tried()), 2)
        port, _ = self.connect(1)
        port.connectionLost(Failure(ConnectionDone()))
        self.reactor.advance(1)
        self.assertEqual(len(self.tried()), 3)

    def test_gone(self) -> None:
        """The channel of a machine that is off, or gone, is let go of at once."""
        for state in (VmState.POWERED_OFF, None):
            self.channels.follow((VM,))
            _, transport = self.connect(-1)
            self.channels.changed(VmChanged(uuid=VM.uuid, name=VM.name, state=state))
            self.assertTrue(transport.disconnecting)
            tried = len(self.tried())
            self.reactor.pump([1] * 5)
            self.assertEqual(len(self.tried()), tried)

    def test_another_path(self) -> None:
        """A machine that was started anew has another socket."""
        self.channels.follow((VM,))
        self.channels.follow((replace(VM, channel="/run/c"),))
        self.assertEqual(self.tried(), ["/run/a", "/run/c"])

    def test_machine_comes_up(self) -> None:
        """When one comes up the machines are read, once for many that come together."""
        self.vms = (VM, OTHER)
        for vm in self.vms:
            self.channels.changed(VmChanged(uuid=vm.uuid, name=vm.name, state=VmState.RUNNING))
        self.reactor.advance(LOOK_DELAY_S)
        self.assertEqual((self.reads, self.tried()), (1, ["/run/a", "/run/b"]))
        self.channels.changed(VmChanged(uuid=VM.uuid, name=VM.name, state=VmState.PAUSED))
        self.reactor.advance(LOOK_DELAY_S)
        self.assertEqual(self.reads, 1)

    def test_change_while_reading(self) -> None:
        """What comes up while the machines are read is not missed."""
        self.answer = Deferred()
        self.channels.look_soon()
        self.reactor.advance(LOOK_DELAY_S)
        self.channels.changed(VmChanged(uuid=VM.uuid, name=VM.name, state=VmState.RUNNING))
        reading, self.answer = self.answer, None
        self.vms = (VM,)
        reading.callback(())
        self.assertEqual(self.tried(), [])
        self.reactor.advance(LOOK_DELAY_S)
        self.assertEqual(self.tried(), ["/run/a"])

    def test_hypervisor_away(self) -> None:
        """A hypervisor that does not answer is asked again soon."""
        self.answer = Deferred()
        self.channels.look_soon()
        self.reactor.advance(LOOK_DELAY_S)
        self.answer.errback(HypervisorUnreachable("libvirt", "away"))
        self.answer, self.vms = None, (VM,)
        self.reactor.pump([LOOK_RETRY_S, LOOK_DELAY_S])
        self.assertEqual(self.tried(), ["/run/a"])

    def test_stop(self) -> None:
        """A stop lets go of all, and nothing is tried any more."""
        self.channels.follow((VM, OTHER))
        _, transport = self.connect(0)
        self.channels.look_soon()
        self.channels.stop()
        self.assertTrue(transport.disconnecting)
        self.reactor.pump([1] * 10)
        self.assertEqual((len(self.tried()), self.reads), (2, 0))


@implementer(IStreamClientEndpoint)
class ByCable:
    """Calls on the guest's end of a cable."""

    def __init__(self, cable: Cable) -> None:
        self.cable = cable
        self.session = 0

    def connect(self, protocolFactory):
        self.session += 1
        port = CallingPort(self.cable.clock, self.session, protocolFactory)
        self.cable.plug("guest", port)
        return port.opened


class BrokerTests(SynchronousTestCase):
    """A guest's STOMP session over a channel, from end to end in memory."""

    def setUp(self) -> None:
        self.clock = MemoryReactorClock()
        self.factory = StompFactory(
            reactor=self.clock,
            rights=VmRights(lambda login, passcode: None),
            limits=BrokerLimits(outbox_bytes=1 << 20),
        )
        self.cable = Cable(self.clock)
        guest = Principal(role=Role.GUEST, id=ID)
        self.cable.plug(
            "host", AnsweringPort(self.clock, lambda: self.factory.build("a channel", guest))
        )
        self.heard: list[bytes] = []
        self.events: list[str] = []
        self.headers: list[str] = []
        self.client = StompClient(
            endpoint=ByCable(self.cable),
            reactor=self.clock,
            subscriptions=self.subscriptions,
            on_message=lambda message: self.heard.append(message.body),
            on_connected=lambda: self.events.append("connected"),
            on_lost=self.events.append,
            delays=ReconnectDelays(first_s=1, most_s=1),
        )
        self.host = self.in_process()
        self.client.startService()
        self.cable.run()

    def subscriptions(self, headers):
        self.headers.append(headers["guest-id"])
        return (REQUESTS, requests_of(GuestId(headers["guest-id"])))

    def in_process(self) -> StompClient:
        """Return the daemon's own session."""
        cable = Cable(self.clock)
        host = Principal(role=Role.HOST)
        cable.plug("host", AnsweringPort(self.clock, lambda: self.factory.build("host", host)))
        self.words: list[tuple[str, bytes]] = []
        client = StompClient(
            endpoint=ByCable(cable),
            reactor=self.clock,
            subscriptions=(CONNECTIONS,),
            on_message=lambda message: self.words.append((message.headers["from"], message.body)),
            on_connected=lambda: None,
            on_lost=self.events.append,
        )
        client.startService()
        cable.run()
        self.host_cable = cable
        return client

    def run_cables(self) -> None:
        """Let everything flow."""
        for _ in range(20):
            self.host_cable.run()
            self.cable.run()

    def live(self, seconds: int) -> None:
        """Let time pass, and everything flow."""
        for _ in range(seconds):
            self.clock.advance(1)
            self.run_cables()

    def test_the_channel_is_the_identity(self) -> None:
        """Without a login the guest is who its channel says, and is told so; so is the host."""
        self.assertEqual((self.events, self.headers), (["connected"], [ID]))
        self.client.send(CONNECTIONS, b"HELLO", {"from": "somebody else"})
        self.run_cables()
        self.assertEqual(self.words, [(ID, b"HELLO")])
        self.host.send(requests_of(ID), b"PING", {})
        self.run_cables()
        self.assertEqual(self.heard, [b"PING"])

    def test_it_may_what_a_guest_may(self) -> None:
        """Over a channel a guest has the rights of a guest."""
        self.client.send(REQUESTS, b"CMD_RUN", {})
        self.run_cables()
        self.assertIn("the broker says", self.events[1])

    def test_heart_beats(self) -> None:
        """A session lives on heart-beats as over TCP."""
        self.live(120)
        self.assertEqual(self.events, ["connected"])

    def test_guest_that_sleeps(self) -> None:
        """One that does not read costs little, is dropped, and comes back when it wakes."""
        self.cable.guest.is_stuck = self.cable.host.is_stuck = True
        for _ in range(100):
            self.host.send(requests_of(ID), bytes(100_000), {})
            self.run_cables()
        self.assertLess(self.cable.host.most_bytes, 300_000)
        self.assertEqual(self.factory._guests.words, {})
        self.live(30)
        self.cable.guest.is_stuck = self.cable.host.is_stuck = False
        self.live(3)
        self.assertEqual(self.events[0::2], ["connected", "connected"])
        self.host.send(requests_of(ID), b"PING", {})
        self.run_cables()
        self.assertEqual(self.heard[-1], b"PING")

    def test_new_agent_takes_the_place_of_the_old(self) -> None:
        """A second session ends the first in the broker, too."""
        first = self.factory._guests.words[ID]
        self.client._protocol.drop("killed")
        self.live(2)
        self.assertIsNot(self.factory._guests.words[ID], first)
        self.assertEqual(len(self.factory._guests.words), 1)
