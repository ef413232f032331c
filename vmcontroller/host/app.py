"""The host daemon: its parts are started and stopped in order, and looked after meanwhile."""

# Twisted's services have few annotations.
# mypy: disallow-untyped-calls=False

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from vmcontroller.common.background import Repeated, in_background, pause
from vmcontroller.common.config import HostConfig
from vmcontroller.common.errors import ConfigError, VMControllerError
from vmcontroller.host.events.log import Kind
from vmcontroller.host.hypervisor.base import VmChanged
from vmcontroller.host.identity.credential_store import open_credentials
from vmcontroller.host.parts import Parts

HOUSEKEEPING_S = 5.0
HYPERVISOR_RETRY_S = 5.0
CHANNELS_S = 30.0
"""Changes are followed at once; this is for those that were not reported."""


class HostDaemon:
    """One daemon."""

    _log = Logger()

    def __init__(self, config: HostConfig, reactor: Any) -> None:  # Any: many interfaces of it
        self._config = config
        self._reactor = reactor
        self._parts = Parts(config, reactor)
        self._opening: Deferred[None] | None = None
        self._repeated = (
            Repeated(reactor, HOUSEKEEPING_S, "housekeeping", self._keep_house),
            Repeated(reactor, HOUSEKEEPING_S, "following commands", self._parts.follow_commands),
            Repeated(reactor, HOUSEKEEPING_S, "following networks", self._parts.addresses.refresh),
            Repeated(
                reactor,
                config.stats.interval,
                "reading figures",
                self._parts.operations.sampler.sample,
            ),
            Repeated(reactor, CHANNELS_S, "following channels", self._follow_channels),
        )

    async def start(self) -> None:
        """Open everything; raises VMControllerError when the daemon can't do its work."""
        parts = self._parts
        parts.state_dir.open()
        parts.transfers.open()
        await parts.commands.open()
        parts.adoption.credentials = open_credentials(parts.state_dir.path)
        parts.client.start()
        if not self._config.broker.is_external:
            parts.broker.startService()
        parts.addresses.prepare()
        await self._open_hypervisor()
        await parts.addresses.refresh()
        if not (self._config.broker.is_external or parts.broker.listening()):
            raise ConfigError(
                "broker", f"port {self._config.broker.port}", "no address can be listened on"
            )
        await parts.door.open()
        parts.event_log.note(Kind.DAEMON_STARTED)
        for work in self._repeated:
            work.start()

    async def stop(self) -> None:
        """Close everything in the opposite order; virtual machines run on."""
        parts = self._parts
        for work in self._repeated:
            work.stop()
        parts.channels.stop()
        await parts.door.close()
        parts.event_log.end_waits()
        if self._opening is not None:
            self._opening.cancel()
        await parts.tasks.stop()
        await parts.commands.stop()
        parts.writer.stop()
        await parts.transfers.stop()
        parts.event_log.stop()
        await parts.client.stop()
        await parts.broker.stopService()
        await parts.hypervisor.close()
        await parts.door.audit.close()
        parts.state_dir.close()
        self._log.info("stopped")

    async def _open_hypervisor(self) -> None:
        """Connect; where nobody answers yet, go on trying while calls answer with a Fault."""
        try:
            await self._parts.hypervisor.open(self._vm_changed)
            await self._adopt()
        except VMControllerError as error:
            self._log.error("{error}; trying on", error=str(error))
            self._opening = in_background(self._open_later(), "connecting to the hypervisor")

    async def _open_later(self) -> None:
        while True:
            await pause(self._reactor, HYPERVISOR_RETRY_S)
            try:
                await self._parts.hypervisor.open(self._vm_changed)
                await self._adopt()
            except VMControllerError as error:
                self._log.debug("still: {error}", error=str(error))
            except Exception:  # noqa: BLE001 - whatever it was, the next try may be better
                self._log.failure("connecting to the hypervisor failed")
            else:
                self._log.info("connected to the hypervisor")
                await self._parts.addresses.refresh()
                return

    async def _adopt(self) -> None:
        """Give VMs credentials for the embedded broker, and listen to their channels.

        An external broker has credentials of its own, and no channels. What an earlier daemon left
        half made is removed before.
        """
        await self._parts.operations.sweep_disks()
        if not self._config.broker.is_external:
            await self._parts.adoption.follow()
            self._parts.channels.look_soon()
        self._parts.sources.found(await self._parts.directory.current())

    def _keep_house(self) -> None:
        self._parts.conversation.guests.expire(self._reactor.seconds())
        self._parts.transfers.expire()
        self._parts.tasks.expire()

    def _vm_changed(self, change: VmChanged) -> None:
        self._parts.sources.vm_changed(change)
        self._parts.operations.vm_changed(change)
        if not self._config.broker.is_external:
            self._parts.channels.changed(change)

    def _follow_channels(self) -> None:
        if not self._config.broker.is_external:
            self._parts.channels.look_soon()
