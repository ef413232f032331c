"""The composition root of the host daemon: what it is made of, and who knows whom."""

# Twisted's services have few annotations.
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from twisted.logger import Logger

from vmcontroller.common.config import HostConfig
from vmcontroller.common.copying.course import Way, threads_of
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
from vmcontroller.host.events.publishing import event_log_of
from vmcontroller.host.events.sources import Sources
from vmcontroller.host.hypervisor.base import Hypervisor, Vm
from vmcontroller.host.hypervisor.registry import hypervisor_from
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


class Parts:
    """All parts of one daemon, built and not begun."""

    _log = Logger()

    def __init__(self, config: HostConfig, reactor: Any) -> None:  # Any: many interfaces of it
        self.config = config
        self.reactor = reactor
        self.state_dir = StateDir(config.state_dir)
        self.in_thread = threads_of(reactor)
        self.writer = WriterThread(reactor)
        self._descriptors, self._door_connections = shared_descriptors(
            raise_descriptor_limit(), config.xmlrpc.max_connections
        )
        self.hypervisor: Hypervisor = hypervisor_from(
            config.hypervisor, reactor=reactor, state_dir=config.state_dir
        )
        self._events = RecentEvents(time.time)
        self.broker = BrokerService(
            reactor=reactor,
            on_event=self._events.note,
            # There is no adoption yet: it needs the conversation, and that the broker.
            rights=VmRights(
                lambda *login: self.adoption.who(*login),  # noqa: PLW0108
                monitor_of(config.broker),
            ),
            limits=BrokerLimits(connections=connections_within(self._descriptors)),
        )
        self.addresses = BrokerAddresses(
            config=config.broker, broker=self.broker, hypervisor=self.hypervisor
        )
        self.directory = Directory(clock=reactor, hypervisor=self.hypervisor)
        self.event_log = event_log_of(config.broker, reactor, self._send)
        self.sources = Sources(self.event_log, self.directory.last_known)
        self._build_conversation()
        self._build_tasks()
        self._build_work()
        self._build_adoption()
        self._build_operations()
        self.channels = Channels(
            reactor=reactor,
            list_vms=self.hypervisor.list_vms,
            is_ours=self.adoption.is_ours,
            build=self._build_on_channel,
        )

    def _build_conversation(self) -> None:
        self.conversation = Conversation(
            clock=self.reactor,
            send=self._send,
            gc_grace_s=self.config.guests.gc_grace,
            agent_up=self.sources.agent_up,
            agent_gone=self.sources.agent_gone,
        )
        self.client = BrokerSession(
            config=self.config.broker,
            broker=self.broker,
            reactor=self.reactor,
            on_message=self.conversation.message,
            on_connected=self.conversation.connected,
            on_lost=self._broker_lost,
        )

    def _build_tasks(self) -> None:
        self.tasks = Tasks(
            clock=self.reactor,
            wall_s=time.time,
            config=self.config.tasks,
            ended=self.sources.task_ended,
        )

    def _build_work(self) -> None:
        """Build what guests are asked to do: copies and commands."""
        files = self.config.files
        roots = AllowedRoots(
            [str(self.state_dir.exchange), *files.roots],
            read_only=files.read_roots,
            of_roles=files.role_roots,
        )
        self.transfers = Transfers(
            World(
                clock=self.reactor,
                wall_s=time.time,
                in_thread=self.in_thread,
                say=self.conversation.say,
                writable=self.client.room,
                bulk=self._bulk_way,
                ask_for_hello=self.conversation.ask_for_hello,
                roots=roots.of,
                ledger=Ledger(self.state_dir.transfers),
                resume_grace_s=files.resume_grace,
                began=lambda copy: follow_copy(self.tasks, self.transfers, copy),
                ended=self.sources.transfer_ended,
            )
        )
        self.commands = Commands(
            CommandWorld(
                clock=self.reactor,
                wall_s=time.time,
                say=self.conversation.say,
                say_to_all=self.conversation.say_to_all,
                ask_for_hello=self.conversation.ask_for_hello,
                there=self.conversation.guests.get,
                open_file=roots.readable,
                in_thread=self.in_thread,
                in_writer=self.writer,
                ended=self.sources.command_ended,
            ),
            state_dir=self.state_dir.path,
            config=self.config.commands,
        )
        self.follow_commands = Housekeeping(
            self.commands,
            list_vms=self.directory.current,
            lost_after_s=self.config.commands.lost_after,
        )
        self.conversation.commands = self.commands
        self.conversation.transfers = self.transfers

    def _build_adoption(self) -> None:
        self.adoption = Adoption(
            clock=self.reactor,
            hypervisor=self.hypervisor,
            directory=self.directory,
            greet=self.conversation.ask_for_hello,
            end_session=self.broker.factory.end_session,
        )
        if not self.config.broker.is_external:
            self.conversation.owing = self.adoption

    def _build_operations(self) -> None:
        self.operations = Operations(
            clock=self.reactor,
            hypervisor=self.hypervisor,
            directory=self.directory,
            in_thread=self.in_thread,
            creation=Creation(
                hypervisor=self.hypervisor,
                in_thread=self.in_thread,
                run_program=runner(self.reactor),
                directory=self.state_dir.disks,
                defaults=self.config.vms,
            ),
            conversation=self.conversation,
            reach=Reach(
                directory=self.directory,
                guests=self.conversation.guests,
                now_s=lambda: self.reactor.seconds(),  # noqa: PLW0108 - main sets another
                wall_s=time.time,
            ),
            adoption=None if self.config.broker.is_external else self.adoption,
            commands=self.commands,
            transfers=self.transfers,
            broker_addresses=self.addresses,
            events=self._events,
            event_log=self.event_log,
            tasks=self.tasks,
            stats=self.config.stats,
            stop_timeout_s=self.config.guests.stop_timeout,
        )
        self.door = Door(
            self.config.xmlrpc,
            self.operations,
            reactor=self.reactor,
            in_thread=self.in_thread,
            state_dir=self.state_dir.path,
            connections=self._door_connections,
        )

    def _bulk_way(self, guest: GuestId) -> Way:
        say = self.conversation.say
        return self.client.bulk_way(guest, lambda word: say(guest, word, bulk=True))

    def _build_on_channel(self, vm: Vm) -> BrokerConnection:
        guest = Principal(role=Role.GUEST, id=identity_of(vm))
        return self.broker.factory.build(f"the channel of {vm.name}", guest)

    def _broker_lost(self, reason: str) -> None:
        if self.client.running:  # else it is us who stop
            self._log.warn("the daemon lost the broker: {reason}", reason=reason)
            self.transfers.broker_lost(f"the daemon lost the broker: {reason}")

    def _send(self, destination: str, body: bytes, headers: Mapping[str, str]) -> None:
        self.client.send(destination, body, headers)
