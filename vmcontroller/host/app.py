"""The composition root of the host daemon: builds the parts, starts and stops them in order."""

# Twisted's services and endpoints have few annotations.
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from vmcontroller.common.background import Repeated, in_background, pause
from vmcontroller.common.config import HostConfig
from vmcontroller.common.copying.course import Way, threads_of
from vmcontroller.common.errors import ConfigError, VMControllerError
from vmcontroller.common.model import GuestId
from vmcontroller.host.adoption import Adoption
from vmcontroller.host.broker.limits import BrokerLimits, connections_within
from vmcontroller.host.broker.protocol import BrokerConnection
from vmcontroller.host.broker.rights import Principal, Role
from vmcontroller.host.broker.service import BrokerService
from vmcontroller.host.broker.vm_rights import VmRights, monitor_of
from vmcontroller.host.broker_addresses import BrokerAddresses
from vmcontroller.host.broker_session import BrokerSession
from vmcontroller.host.channels import Channels
from vmcontroller.host.commands.commands import Commands
from vmcontroller.host.commands.housekeeping import Housekeeping
from vmcontroller.host.commands.world import CommandWorld
from vmcontroller.host.commands.writer_thread import WriterThread
from vmcontroller.host.conversation import Conversation
from vmcontroller.host.creation.creation import Creation
from vmcontroller.host.creation.programs import runner
from vmcontroller.host.descriptors import raise_descriptor_limit, shared_descriptors
from vmcontroller.host.directory import Directory
from vmcontroller.host.door.door import Door
from vmcontroller.host.events.log import Kind
from vmcontroller.host.events.publishing import event_log_of
from vmcontroller.host.events.sources import Sources
from vmcontroller.host.hypervisor.base import Hypervisor, Vm, VmChanged
from vmcontroller.host.hypervisor.registry import hypervisor_from
from vmcontroller.host.identity.credential_store import open_credentials
from vmcontroller.host.identity.identities import identity_of
from vmcontroller.host.operations.operations import Operations
from vmcontroller.host.reach import Reach
from vmcontroller.host.recent_events import RecentEvents
from vmcontroller.host.state_dir import StateDir
from vmcontroller.host.tasks.copies import follow_copy
from vmcontroller.host.tasks.tasks import Tasks
from vmcontroller.host.transfers.ledger import Ledger
from vmcontroller.host.transfers.roots import AllowedRoots
from vmcontroller.host.transfers.transfers import Transfers
from vmcontroller.host.transfers.world import World

HOUSEKEEPING_S = 5.0
HYPERVISOR_RETRY_S = 5.0
CHANNELS_S = 30.0
"""Changes are followed at once; this is for those that were not reported."""


class HostDaemon:
    """All parts of one daemon."""

    _log = Logger()

    def __init__(self, config: HostConfig, reactor: Any) -> None:  # Any: many interfaces of it
        self._config = config
        self._reactor = reactor
        self._state_dir = StateDir(config.state_dir)
        self._in_thread = threads_of(reactor)
        self._writer = WriterThread(reactor)
        self._descriptors, self._door_connections = shared_descriptors(
            raise_descriptor_limit(), config.xmlrpc.max_connections
        )
        self._opening: Deferred[None] | None = None
        self.hypervisor: Hypervisor = hypervisor_from(
            config.hypervisor, reactor=reactor, state_dir=config.state_dir
        )
        self._events = RecentEvents(time.time)
        self.broker = BrokerService(
            reactor=reactor,
            on_event=self._events.note,
            # There is no adoption yet: it needs the conversation, and that the broker.
            rights=VmRights(
                lambda *login: self._adoption.who(*login),  # noqa: PLW0108
                monitor_of(config.broker),
            ),
            limits=BrokerLimits(connections=connections_within(self._descriptors)),
        )
        self._addresses = BrokerAddresses(
            config=config.broker, broker=self.broker, hypervisor=self.hypervisor
        )
        self._directory = Directory(clock=reactor, hypervisor=self.hypervisor)
        self._event_log = event_log_of(config.broker, reactor, self._send)
        self._sources = Sources(self._event_log, self._directory.last_known)
        self._build_conversation()
        self._build_tasks()
        self._build_work()
        self._build_adoption()
        self._build_operations()
        self._channels = Channels(
            reactor=reactor,
            list_vms=self.hypervisor.list_vms,
            is_ours=self._adoption.is_ours,
            build=self._build_on_channel,
        )
        self._repeated = (
            Repeated(reactor, HOUSEKEEPING_S, "housekeeping", self._keep_house),
            Repeated(reactor, HOUSEKEEPING_S, "following commands", self._follow_commands),
            Repeated(reactor, HOUSEKEEPING_S, "following networks", self._addresses.refresh),
            Repeated(
                reactor, config.stats.interval, "reading figures", self.operations.sampler.sample
            ),
            Repeated(reactor, CHANNELS_S, "following channels", self._follow_channels),
        )

    def _build_conversation(self) -> None:
        self._conversation = Conversation(
            clock=self._reactor,
            send=self._send,
            gc_grace_s=self._config.guests.gc_grace,
            agent_up=self._sources.agent_up,
            agent_gone=self._sources.agent_gone,
        )
        self._client = BrokerSession(
            config=self._config.broker,
            broker=self.broker,
            reactor=self._reactor,
            on_message=self._conversation.message,
            on_connected=self._conversation.connected,
            on_lost=self._broker_lost,
        )

    def _build_tasks(self) -> None:
        self._tasks = Tasks(
            clock=self._reactor,
            wall_s=time.time,
            config=self._config.tasks,
            ended=self._sources.task_ended,
        )

    def _build_work(self) -> None:
        """Build what guests are asked to do: copies and commands."""
        files = self._config.files
        roots = AllowedRoots(
            [str(self._state_dir.exchange), *files.roots],
            read_only=files.read_roots,
            of_roles=files.role_roots,
        )
        self._transfers = Transfers(
            World(
                clock=self._reactor,
                wall_s=time.time,
                in_thread=self._in_thread,
                say=self._conversation.say,
                writable=self._client.room,
                bulk=self._bulk_way,
                ask_for_hello=self._conversation.ask_for_hello,
                roots=roots.of,
                ledger=Ledger(self._state_dir.transfers),
                resume_grace_s=files.resume_grace,
                began=lambda copy: follow_copy(self._tasks, self._transfers, copy),
                ended=self._sources.transfer_ended,
            )
        )
        self._commands = Commands(
            CommandWorld(
                clock=self._reactor,
                wall_s=time.time,
                say=self._conversation.say,
                say_to_all=self._conversation.say_to_all,
                ask_for_hello=self._conversation.ask_for_hello,
                there=self._conversation.guests.get,
                open_file=roots.readable,
                in_thread=self._in_thread,
                in_writer=self._writer,
                ended=self._sources.command_ended,
            ),
            state_dir=self._state_dir.path,
            config=self._config.commands,
        )
        self._follow_commands = Housekeeping(
            self._commands,
            list_vms=self._directory.current,
            lost_after_s=self._config.commands.lost_after,
        )
        self._conversation.commands = self._commands
        self._conversation.transfers = self._transfers

    def _build_adoption(self) -> None:
        self._adoption = Adoption(
            clock=self._reactor,
            hypervisor=self.hypervisor,
            directory=self._directory,
            greet=self._conversation.ask_for_hello,
            end_session=self.broker.factory.end_session,
        )
        if not self._config.broker.is_external:
            self._conversation.owing = self._adoption

    def _build_operations(self) -> None:
        self.operations = Operations(
            clock=self._reactor,
            hypervisor=self.hypervisor,
            directory=self._directory,
            in_thread=self._in_thread,
            creation=Creation(
                hypervisor=self.hypervisor,
                in_thread=self._in_thread,
                run_program=runner(self._reactor),
                directory=self._state_dir.disks,
                defaults=self._config.vms,
            ),
            conversation=self._conversation,
            reach=Reach(
                directory=self._directory,
                guests=self._conversation.guests,
                now_s=lambda: self._reactor.seconds(),  # noqa: PLW0108 - main sets another
                wall_s=time.time,
            ),
            adoption=None if self._config.broker.is_external else self._adoption,
            commands=self._commands,
            transfers=self._transfers,
            broker_addresses=self._addresses,
            events=self._events,
            event_log=self._event_log,
            tasks=self._tasks,
            stats=self._config.stats,
            stop_timeout_s=self._config.guests.stop_timeout,
        )
        self._door = Door(
            self._config.xmlrpc,
            self.operations,
            reactor=self._reactor,
            in_thread=self._in_thread,
            state_dir=self._state_dir.path,
            connections=self._door_connections,
        )

    async def start(self) -> None:
        """Open everything; raises VMControllerError when the daemon can't do its work."""
        self._state_dir.open()
        self._transfers.open()
        await self._commands.open()
        self._adoption.credentials = open_credentials(self._state_dir.path)
        self._client.start()
        if not self._config.broker.is_external:
            self.broker.startService()
        self._addresses.prepare()
        await self._open_hypervisor()
        await self._addresses.refresh()
        if not (self._config.broker.is_external or self.broker.listening()):
            raise ConfigError(
                "broker", f"port {self._config.broker.port}", "no address can be listened on"
            )
        await self._door.open()
        self._event_log.note(Kind.DAEMON_STARTED)
        for work in self._repeated:
            work.start()

    async def stop(self) -> None:
        """Close everything in the opposite order; virtual machines run on."""
        for work in self._repeated:
            work.stop()
        self._channels.stop()
        await self._door.close()
        self._event_log.end_waits()
        if self._opening is not None:
            self._opening.cancel()
        await self._tasks.stop()
        await self._commands.stop()
        self._writer.stop()
        await self._transfers.stop()
        self._event_log.stop()
        await self._client.stop()
        await self.broker.stopService()
        await self.hypervisor.close()
        await self._door.audit.close()
        self._state_dir.close()
        self._log.info("stopped")

    async def _open_hypervisor(self) -> None:
        """Connect; where nobody answers yet, go on trying while calls answer with a Fault."""
        try:
            await self.hypervisor.open(self._vm_changed)
            await self._adopt()
        except VMControllerError as error:
            self._log.error("{error}; trying on", error=str(error))
            self._opening = in_background(self._open_later(), "connecting to the hypervisor")

    async def _open_later(self) -> None:
        while True:
            await pause(self._reactor, HYPERVISOR_RETRY_S)
            try:
                await self.hypervisor.open(self._vm_changed)
                await self._adopt()
            except VMControllerError as error:
                self._log.debug("still: {error}", error=str(error))
            except Exception:  # noqa: BLE001 - whatever it was, the next try may be better
                self._log.failure("connecting to the hypervisor failed")
            else:
                self._log.info("connected to the hypervisor")
                await self._addresses.refresh()
                return

    async def _adopt(self) -> None:
        """Give VMs credentials for the embedded broker, and listen to their channels.

        An external broker has credentials of its own, and no channels. What an earlier daemon left
        half made is removed before.
        """
        await self.operations.sweep_disks()
        if not self._config.broker.is_external:
            await self._adoption.follow()
            self._channels.look_soon()
        self._sources.found(await self._directory.current())

    def _keep_house(self) -> None:
        self._conversation.guests.expire(self._reactor.seconds())
        self._transfers.expire()
        self._tasks.expire()

    def _vm_changed(self, change: VmChanged) -> None:
        self._sources.vm_changed(change)
        self.operations.vm_changed(change)
        if not self._config.broker.is_external:
            self._channels.changed(change)

    def _follow_channels(self) -> None:
        if not self._config.broker.is_external:
            self._channels.look_soon()

    def _bulk_way(self, guest: GuestId) -> Way:
        say = self._conversation.say
        return self._client.bulk_way(guest, lambda word: say(guest, word, bulk=True))

    def _build_on_channel(self, vm: Vm) -> BrokerConnection:
        guest = Principal(role=Role.GUEST, id=identity_of(vm))
        return self.broker.factory.build(f"the channel of {vm.name}", guest)

    def _broker_lost(self, reason: str) -> None:
        if self._client.running:  # else it is us who stop
            self._log.warn("the daemon lost the broker: {reason}", reason=reason)
            self._transfers.broker_lost(f"the daemon lost the broker: {reason}")

    def _send(self, destination: str, body: bytes, headers: Mapping[str, str]) -> None:
        self._client.send(destination, body, headers)
