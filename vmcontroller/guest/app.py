"""Putting the agent together from its parts."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.logger import Logger

from vmcontroller.common.config import GuestConfig
from vmcontroller.common.copying.course import Way, threads_of
from vmcontroller.common.credentials import Credential, newest
from vmcontroller.common.destinations import GUEST_ID, REQUESTS, requests_of
from vmcontroller.common.errors import BadArgument, ConfigError, NotConnected
from vmcontroller.common.model import guest_id
from vmcontroller.common.stomp.client import Credentials, StompClient
from vmcontroller.common.stomp.endpoints import tls_endpoint
from vmcontroller.common.words.presence import Descriptor
from vmcontroller.guest.agent import Agent
from vmcontroller.guest.bulk import Bulk, Outcome
from vmcontroller.guest.bulk_session import BulkSession
from vmcontroller.guest.channel import ChannelEndpoint
from vmcontroller.guest.commands.runner import Runner
from vmcontroller.guest.discovery import DiscoveredEndpoint, channel_path, find_broker
from vmcontroller.guest.figures import Figures
from vmcontroller.guest.files import GuestFiles
from vmcontroller.guest.identity import About, describe, named, read_boot_id, read_load
from vmcontroller.guest.kept_credential import KeptCredential
from vmcontroller.guest.notes import Notes
from vmcontroller.guest.told import read_told
from vmcontroller.guest.voice import Voice


class GuestAgent:
    """The whole agent: started once, stopped once."""

    _log = Logger()

    def __init__(
        self,
        config: GuestConfig,
        reactor: Any,
        describe: Callable[[], Descriptor] | None = None,
    ) -> None:
        """`reactor` is the real one; `describe` says who this guest is (default: its devices)."""
        self._config = config
        self._describe = describe or _describer(config)
        self._notes = Notes(Path(config.state_dir) / "copies", wall_s=time.time)
        self._kept = KeptCredential(Path(config.state_dir) / "credential")
        self._reactor = reactor
        self._endpoint = DiscoveredEndpoint(
            reactor,
            lambda: find_broker(config),
            channel=_channel(config, reactor),
            over_tls=self._over_tls if config.broker.tls else None,
        )
        self._client = StompClient(
            endpoint=self._endpoint,
            reactor=reactor,
            credentials=self._credentials,
            subscriptions=self._subscriptions,
            # There is no agent yet: it needs the client to speak through.
            on_message=lambda message: self._agent.message(message),  # noqa: PLW0108
            on_connected=lambda: self._agent.connected(),  # noqa: PLW0108
            on_lost=lambda reason: self._agent.lost(reason),  # noqa: PLW0108
        )
        self._voice = Voice(link=self._client, time=time.time)
        self._runner = Runner(
            reactor=reactor,
            say=self._voice.say,
            writable=self._voice.writable,
            folder=Path(config.state_dir) / "commands",
            boot_id=read_boot_id(),
            spool_limit_bytes=config.commands.spool_limit_mib << 20,
            in_thread=threads_of(reactor),
        )
        self._agent = self._build_agent(reactor)

    def _build_agent(self, reactor: Any) -> Agent:
        voice = self._voice
        return Agent(
            reactor=reactor,
            voice=voice,
            runner=self._runner,
            files=GuestFiles(
                reactor=reactor,
                say=voice.say,
                writable=voice.writable,
                notes=self._notes,
                bulk=Bulk(
                    clock=reactor,
                    first=Way(say=voice.say, writable=voice.writable),
                    build=self._second_session,
                ),
            ),
            about=About(
                descriptor=lambda: named(self._describe(), voice.own_id),
                session=str(uuid.uuid4()),
                version=_version(),
                boot_id=read_boot_id(),
                load=read_load,
                figures=Figures().read,
            ),
            keep=self._kept.keep,
            beacon_interval_s=self._config.vm.beacon_interval,
        )

    def start(self) -> None:
        """Begin. Raises OSError where the state directory can't be had."""
        self._runner.start()
        self._notes.open()
        self._client.startService()

    async def stop(self) -> None:
        """End what runs, say BYE, close the connection."""
        await self._agent.stop()
        await self._client.stopService()

    def _credentials(self) -> Credentials:
        """Say what to log in with: what this guest was told or given, else its own id."""
        broker = self._config.broker
        configured = None
        if broker.username and broker.password:
            configured = Credential(login=broker.username, passcode=broker.password)
        found = newest(configured, read_told(self._config.vm).credential, self._kept.read())
        if found is not None:
            return Credentials(login=found.login, passcode=found.passcode)
        return Credentials(login=broker.username or self._describe().id, passcode=broker.password)

    def _second_session(self, outcome: Outcome) -> BulkSession | None:
        """Make a second connection by the way of the first, if that can carry two."""
        try:
            endpoint = self._endpoint.once_more()
        except ConfigError:  # the file was good when the first one was made
            return None
        if endpoint is None:
            return None
        return BulkSession(
            endpoint=endpoint,
            clock=self._reactor,
            credentials=self._credentials,
            own_id=self._voice.own_id,
            time=time.time,
            on_message=self._agent.message,
            outcome=outcome,
        )

    def _over_tls(self, plain: IStreamClientEndpoint, host: str) -> IStreamClientEndpoint:
        try:
            return tls_endpoint(plain, host, self._config.broker.tls_ca)
        except ConfigError as error:
            self._log.error("no connection over TLS: {error}", error=str(error))
            raise

    def _subscriptions(self, headers: Mapping[str, str]) -> Sequence[str]:
        """Say what this guest listens to: who it is, the embedded broker tells it."""
        told = headers.get(GUEST_ID, "")
        try:
            own_id = guest_id(told or self._describe().id)
        except BadArgument:
            raise NotConnected(
                "nothing tells who this guest is: no interface (vm.network_interface: "
                f"{self._config.vm.network_interface}), no UUID, no vm.id, nor the broker"
            ) from None
        if own_id != self._voice.own_id:
            self._log.info("this guest is {id}", id=own_id)
            self._voice.own_id = own_id
        return (REQUESTS, requests_of(own_id))


def _describer(config: GuestConfig) -> Callable[[], Descriptor]:
    return lambda: describe(config.vm)


def _channel(config: GuestConfig, reactor: Any) -> ChannelEndpoint | None:
    path = channel_path(config)
    return ChannelEndpoint(reactor, path) if path else None


def _version() -> str:
    try:
        return metadata.version("vmcontroller")
    except metadata.PackageNotFoundError:  # copied into a guest without its metadata
        return ""
