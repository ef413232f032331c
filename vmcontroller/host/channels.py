"""The host's end of the channels: a connection to the socket of each running VM that has one.

Whoever speaks on a channel is that VM's guest: nobody else can. Each session on it becomes a
connection of the broker's.
"""

# Twisted's endpoints and failures have no annotations.
# mypy: disallow-untyped-calls=False

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.error import ConnectError, ConnectingCancelledError, ConnectionLost
from twisted.internet.interfaces import IProtocol, IReactorTime
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure
from typing_extensions import override

from vmcontroller.common.background import in_background, pause
from vmcontroller.common.channel import ANY_SESSION, PADDING, Frame, Kind
from vmcontroller.common.channel_stream import ChannelPort, ChannelStream
from vmcontroller.common.errors import VMControllerError
from vmcontroller.common.stomp.client import ReconnectDelays
from vmcontroller.host.hypervisor.base import Vm, VmChanged

SESSION_INTERVAL_S = 0.1
"""A guest may begin a session so often; what one costs, it could else cost the host for ever."""

LOOK_DELAY_S = 0.2
"""After a machine has come up, before the machines are read: others may come up with it."""

LOOK_RETRY_S = 2.0
"""After a reading that failed: others' machines may be in a state that can't be read."""

RETRY_MOST_S = 5.0


class AnsweringPort(ChannelPort):
    """Takes up the sessions that the guest begins, one at a time: the newest.

    `build` makes the broker's end of one; `lost` fires when the port is gone.
    """

    def __init__(self, clock: IReactorTime, build: Callable[[], IProtocol]) -> None:
        super().__init__(clock)
        self.was_lost: Deferred[str] = Deferred()
        self._build = build
        self._next_open_s = 0.0

    @override
    def connectionMade(self) -> None:
        super().connectionMade()
        self.say(Kind.CLOSE, ANY_SESSION, before=PADDING)

    @override
    def heard(self, frame: Frame) -> None:
        match frame.kind:
            case Kind.OPEN:
                self._heard_open(frame)
            case Kind.CLOSE:
                self.heard_close(frame)
            case Kind.DATA if self.stream is None or not self.stream.is_named(frame):
                self._refuse(frame)
            case Kind.DATA:
                self.heard_data(frame)
            case _:
                pass

    @override
    def port_lost(self, reason: Failure) -> None:
        self.was_lost.callback(reason.getErrorMessage())

    def _heard_open(self, frame: Frame) -> None:
        # What is answered is kept until the guest reads; while it does not, nothing is answered.
        wait_s = self._next_open_s - self.clock.seconds()
        if self.is_blocked:
            self.postpone(frame, "room")
        elif self.stream is not None and self.stream.is_named(frame) and self.stream.is_fresh:
            self.say(Kind.OPENED, frame.session, before=PADDING)  # it did not know we were there
        elif wait_s > 0:
            self.postpone(frame, "interval")
            self.clock.callLater(wait_s, self.release, "interval")
        else:
            self._open(frame.session)

    def _open(self, session: int) -> None:
        self._next_open_s = self.clock.seconds() + SESSION_INTERVAL_S
        if self.stream is not None:
            self.stream.lost(Failure(ConnectionLost("the guest has begun another session")))
        protocol = self._build()
        self.stream = ChannelStream(self, session, protocol)
        self.say(Kind.OPENED, session, before=PADDING)
        protocol.makeConnection(self.stream)

    def _refuse(self, frame: Frame) -> None:
        if self.is_blocked:
            self.postpone(frame, "room")
        else:
            self.say(Kind.CLOSE, frame.session)


class Channel:
    """Keeps a connection to one VM's socket, from `start` to `stop`."""

    _log = Logger()

    def __init__(
        self, reactor: Any, vm: Vm, build: Callable[[Vm], IProtocol], delays: ReconnectDelays
    ) -> None:
        self.path = vm.channel
        self._reactor = reactor
        self._vm = vm
        self._build = build
        self._delays = delays
        self._port: AnsweringPort | None = None
        self._life: Deferred[None] | None = None

    def start(self) -> None:
        """Connect, and again whenever the connection is lost."""
        self._life = in_background(self._keep_connected(), f"the channel of {self._vm.name}")

    def stop(self) -> None:
        """Let go of it."""
        life, self._life = self._life, None
        port = self._port
        if life is not None:
            life.cancel()
        if port is not None:
            port.transport.abortConnection()

    async def _keep_connected(self) -> None:
        told = ""
        while True:
            problem = await self._one_connection()
            if problem and problem != told:
                self._log.info(
                    "the channel of {name} at {path}: {problem}; trying on",
                    name=self._vm.name,
                    path=self.path,
                    problem=problem,
                )
            told = problem
            await pause(self._reactor, self._delays.next_s())

    async def _one_connection(self) -> str:
        """Connect and stay connected; return why that could not be, or nothing."""
        factory = Factory.forProtocol(
            lambda: AnsweringPort(self._reactor, lambda: self._build(self._vm))
        )
        factory.noisy = False
        try:
            port = await UNIXClientEndpoint(self._reactor, self.path).connect(factory)
        except ConnectError as error:
            return str(error)
        except ConnectingCancelledError:
            raise CancelledError from None
        self._port = port
        self._delays.reset()
        try:
            await port.was_lost
        finally:
            self._port = None
        return ""


class Channels:
    """The channels of the machines that `list_vms` says are running, as they come and go.

    One end of a channel is for one: that of a machine which is not ours, because another daemon
    has started it, is left to that. `build` makes the broker's end of a session of that VM's guest.
    """

    _log = Logger()

    def __init__(
        self,
        *,
        reactor: Any,
        list_vms: Callable[[], Awaitable[tuple[Vm, ...]]],
        is_ours: Callable[[Vm], bool],
        build: Callable[[Vm], IProtocol],
        delays: Callable[[], ReconnectDelays] = lambda: ReconnectDelays(most_s=RETRY_MOST_S),
    ) -> None:
        self._reactor = reactor
        self._list_vms = list_vms
        self._is_ours = is_ours
        self._build = build
        self._delays = delays
        self._channels: dict[str, Channel] = {}
        self._looking: Deferred[None] | None = None
        self._look_again = False

    def changed(self, change: VmChanged) -> None:
        """Take in what the hypervisor reports."""
        if change.state is None or change.state.is_off:
            self._drop(change.uuid)
        elif change.uuid not in self._channels:
            self.look_soon()

    def look_soon(self) -> None:
        """Read the machines, shortly; what changes while they are read has them read again."""
        self._look_again = True
        if self._looking is None:
            self._looking = in_background(self._look(), "following the channels")

    def follow(self, vms: Iterable[Vm]) -> None:
        """Connect to the channels of these, and to no others."""
        wanted = {
            vm.uuid: vm for vm in vms if vm.channel and not vm.state.is_off and self._is_ours(vm)
        }
        for uuid, channel in list(self._channels.items()):
            if uuid not in wanted or wanted[uuid].channel != channel.path:
                self._drop(uuid)
        for uuid, vm in wanted.items():
            if uuid not in self._channels:
                self._channels[uuid] = Channel(self._reactor, vm, self._build, self._delays())
                self._channels[uuid].start()

    def stop(self) -> None:
        """Let go of all."""
        if self._looking is not None:
            self._looking.cancel()
        self.follow(())

    def _drop(self, uuid: str) -> None:
        channel = self._channels.pop(uuid, None)
        if channel is not None:
            channel.stop()

    async def _look(self) -> None:
        told = ""
        try:
            while self._look_again:
                await pause(self._reactor, LOOK_DELAY_S)
                self._look_again = False
                problem = await self._look_once()
                if problem:
                    self._look_again = True
                    if problem != told:
                        self._log.warn("the channels are not known: {error}", error=problem)
                    told = problem
                    await pause(self._reactor, LOOK_RETRY_S)
        finally:
            self._looking = None

    async def _look_once(self) -> str:
        """Follow the machines there are; return what was in the way, or nothing."""
        try:
            self.follow(await self._list_vms())
        except VMControllerError as error:
            return str(error)
        return ""
