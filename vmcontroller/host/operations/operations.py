"""What the API offers, on the hypervisor's machines and on the guests: all use cases in one.

The XML-RPC door has checked types and options before it calls here; what is true of the world
(does this VM exist, does it run, is its agent there) is checked here.
"""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

from vmcontroller.common.config import StatsConfig
from vmcontroller.host.adoption import Adoption
from vmcontroller.host.broker_addresses import BrokerAddresses
from vmcontroller.host.commands.commands import Commands
from vmcontroller.host.conversation import Conversation
from vmcontroller.host.creation import InThread
from vmcontroller.host.creation.creation import Creation
from vmcontroller.host.directory import Directory
from vmcontroller.host.events.events import Events
from vmcontroller.host.hypervisor.base import Hypervisor
from vmcontroller.host.operations.commands import CommandOperations
from vmcontroller.host.operations.copies import CopyOperations
from vmcontroller.host.operations.events import EventOperations
from vmcontroller.host.operations.guests import GuestOperations
from vmcontroller.host.operations.screen import ScreenOperations
from vmcontroller.host.operations.snapshots import SnapshotOperations
from vmcontroller.host.operations.stats import StatsOperations
from vmcontroller.host.operations.tasks import TaskOperations
from vmcontroller.host.operations.vms import VmOperations
from vmcontroller.host.reach import Reach
from vmcontroller.host.recent_events import RecentEvents
from vmcontroller.host.stats.sampler import Sampler
from vmcontroller.host.tasks.tasks import Tasks
from vmcontroller.host.transfers.transfers import Transfers


class Operations(
    VmOperations,
    GuestOperations,
    CommandOperations,
    CopyOperations,
    EventOperations,
    TaskOperations,
    StatsOperations,
    ScreenOperations,
    SnapshotOperations,
):
    """One coroutine per use case, named as the wire's method in snake_case."""

    def __init__(
        self,
        *,
        clock: IReactorTime,
        hypervisor: Hypervisor,
        directory: Directory,
        in_thread: InThread,
        creation: Creation,
        conversation: Conversation,
        reach: Reach,
        adoption: Adoption | None,
        commands: Commands,
        transfers: Transfers,
        broker_addresses: BrokerAddresses,
        events: RecentEvents,
        event_log: Events,
        tasks: Tasks,
        stats: StatsConfig,
        stop_timeout_s: float,
    ) -> None:
        VmOperations.__init__(
            self,
            clock=clock,
            hypervisor=hypervisor,
            directory=directory,
            creation=creation,
            reach=reach,
            adoption=adoption,
            commands=commands,
            transfers=transfers,
            broker_addresses=broker_addresses,
            stop_timeout_s=stop_timeout_s,
        )
        GuestOperations.__init__(
            self,
            conversation=conversation,
            reach=reach,
            broker_addresses=broker_addresses,
            events=events,
        )
        CommandOperations.__init__(
            self, reach=reach, directory=directory, in_thread=in_thread, commands=commands
        )
        CopyOperations.__init__(self, reach=reach, transfers=transfers)
        EventOperations.__init__(self, event_log=event_log)
        TaskOperations.__init__(self, directory=directory, tasks=tasks)
        sampler = Sampler.of(hypervisor, directory, conversation.guests, clock=clock, config=stats)
        StatsOperations.__init__(self, directory=directory, sampler=sampler)
        ScreenOperations.__init__(self, directory=directory, hypervisor=hypervisor)
