"""Reads all machines' figures in one go, every so often, and keeps their history."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol, Self

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from vmcontroller.common.background import pause
from vmcontroller.common.config import StatsConfig
from vmcontroller.common.errors import VMControllerError
from vmcontroller.common.model import GuestId
from vmcontroller.host.guests import Guest, Guests
from vmcontroller.host.hypervisor.base import Hypervisor, Vm
from vmcontroller.host.hypervisor.stats import Counters
from vmcontroller.host.identity.identities import identity_of
from vmcontroller.host.stats.history import MachineHistory

AT_ONCE: Final = 100
"""So many machines' figures are worked on before others have their turn: two milliseconds."""


class Machines(Protocol):
    """Who knows which machines there are."""

    async def current(self) -> Sequence[Vm]:
        """Return every machine."""
        ...


class Sampler:
    """The figures of all machines.

    One reading of the hypervisor an interval, whether anybody asks or not: a history that begins
    when somebody asks for it is none. A hypervisor that does not answer leaves a gap.
    """

    _log = Logger()

    def __init__(
        self,
        *,
        clock: IReactorTime,
        wall_s: Callable[[], float],
        config: StatsConfig,
        read: Callable[[], Awaitable[Mapping[str, Counters]]],
        list_vms: Callable[[], Awaitable[Iterable[Vm]]],
        guests: Guests,
    ) -> None:
        """`read` answers the counters of all running machines by their UUID."""
        self._clock = clock
        self._wall_s = wall_s
        self._config = config
        self._read = read
        self._list_vms = list_vms
        self._guests = guests
        self._machines: dict[str, MachineHistory] = {}
        self._failing = False

    @classmethod
    def of(
        cls,
        hypervisor: Hypervisor,
        directory: Machines,
        guests: Guests,
        *,
        clock: IReactorTime,
        config: StatsConfig,
    ) -> Self:
        """Make one for the machines of a hypervisor."""
        return cls(
            clock=clock,
            wall_s=time.time,
            config=config,
            read=hypervisor.stats,
            list_vms=directory.current,
            guests=guests,
        )

    async def sample(self) -> None:
        """Read once. Raises nothing that is expected: it is logged when it begins and ends."""
        try:
            counters = await self._read()
            vms = await self._list_vms()
        except VMControllerError as error:
            if not self._failing:
                self._log.warn("no figures: {error}", error=str(error))
            self._failing = True
            return
        if self._failing:
            self._log.info("there are figures again")
        self._failing = False
        now_s, wall_s = self._clock.seconds(), self._wall_s()
        here = {vm.uuid: vm for vm in vms}
        for number, (uuid, reading) in enumerate(counters.items(), 1):
            self._machine(uuid).counted(reading, now_s, wall_s)
            if uuid in here:
                self._take_what_is_said(here[uuid], wall_s - now_s)
            if number % AT_ONCE == 0:
                await pause(self._clock, 0)
        self._prune(here.keys(), counters.keys(), now_s)

    def answer(self, vm: Vm, pattern: str, most: int | None = None) -> list[dict[str, Any]]:
        """Return a machine's figures as the API has them, none of one that was never read.

        `most` values of each; None is all that is kept.
        """
        history = self._machines.get(vm.uuid)
        if history is None:
            return []
        return history.answer(vm.name, pattern, most or self._config.keep)

    def _take_what_is_said(self, vm: Vm, wall_ahead_s: float) -> None:
        guest = self._guest_of(vm)
        if guest is not None and guest.figures:
            said_s = guest.figures_s
            self._machine(vm.uuid).said(guest.figures, said_s, said_s + wall_ahead_s)

    def _machine(self, uuid: str) -> MachineHistory:
        return self._machines.setdefault(uuid, MachineHistory(self._config.keep))

    def _guest_of(self, vm: Vm) -> Guest | None:
        """On an external broker an agent chooses which NIC names it."""
        for guest_id in (identity_of(vm), *map(GuestId, vm.macs)):
            guest = self._guests.get(guest_id)
            if guest is not None:
                return guest
        return None

    def _prune(self, here: Collection[str], read: Collection[str], now_s: float) -> None:
        """Forget machines that are gone, and figures older than the history is long."""
        oldest_s = now_s - self._config.interval * (self._config.keep + 1)
        for uuid, history in list(self._machines.items()):
            history.drop_before(oldest_s)
            if uuid not in read and (uuid not in here or history.is_empty):
                del self._machines[uuid]
