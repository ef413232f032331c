"""Putting the agent together from its parts, once it is known who this guest is."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from vmcontroller.common.config import GuestConfig
from vmcontroller.common.destinations import REQUESTS, requests_of
from vmcontroller.common.model import guest_id
from vmcontroller.common.stomp.client import Credentials, StompClient
from vmcontroller.common.words.presence import Descriptor
from vmcontroller.guest.agent import Agent
from vmcontroller.guest.discovery import DiscoveredEndpoint, find_broker
from vmcontroller.guest.files import GuestFiles
from vmcontroller.guest.identity import describe
from vmcontroller.guest.notes import Notes
from vmcontroller.guest.runner import Runner
from vmcontroller.guest.spool import fresh_folder
from vmcontroller.guest.voice import Voice

IDENTITY_RETRY_S = 1.0


class GuestAgent:
    """The whole agent: started once, stopped once."""

    _log = Logger()

    def __init__(
        self,
        config: GuestConfig,
        reactor: Any,
        describe: Callable[[], Descriptor | None] | None = None,
    ) -> None:
        """`reactor` is the real one; `describe` says who this guest is (default: its devices)."""
        self._config = config
        self._reactor = reactor
        self._describe = describe or _describer(config)
        self._spool = Path(config.state_dir) / "commands"
        self._notes = Notes(Path(config.state_dir) / "copies")
        self._waiting: IDelayedCall | None = None
        self._agent: Agent | None = None
        self._client: StompClient | None = None

    def start(self) -> None:
        """Begin; without an interface to be named by, as soon as there is one.

        Raises OSError where the state directory can't be had.
        """
        fresh_folder(self._spool)
        self._notes.open()
        self._identify()

    def _identify(self) -> None:
        descriptor = self._describe()
        if descriptor is not None:
            self._waiting = None
            self._begin(descriptor)
            return
        if self._waiting is None:
            self._log.warn(
                "no interface tells who this guest is (vm.network_interface: {name}); waiting",
                name=self._config.vm.network_interface,
            )
        self._waiting = self._reactor.callLater(IDENTITY_RETRY_S, self._identify)

    async def stop(self) -> None:
        """End what runs, say BYE, close the connection."""
        if self._waiting is not None:
            self._waiting.cancel()
        if self._agent is not None and self._client is not None:
            await self._agent.stop()
            await self._client.stopService()

    def _begin(self, first: Descriptor) -> None:
        config = self._config
        own_id = guest_id(first.id)
        self._log.info("this guest is {id}, UUID {uuid}", id=own_id, uuid=first.uuid or "unknown")
        client = StompClient(
            endpoint=DiscoveredEndpoint(self._reactor, lambda: find_broker(config.broker)),
            reactor=self._reactor,
            credentials=Credentials(
                login=config.broker.username or own_id, passcode=config.broker.password
            ),
            subscriptions=(REQUESTS, requests_of(own_id)),
            # There is no agent yet: it needs the client to speak through.
            on_message=lambda message: agent.message(message),  # noqa: PLW0108
            on_connected=lambda: agent.connected(),  # noqa: PLW0108
            on_lost=lambda reason: agent.lost(reason),  # noqa: PLW0108
        )
        voice = Voice(link=client, own_id=own_id, time=time.time)
        runner = Runner(
            reactor=self._reactor,
            say=voice.say,
            writable=voice.writable,
            folder=self._spool,
        )

        def now() -> Descriptor:
            found = self._describe()
            # The id stays: the connection and its subscriptions are in its name.
            return first if found is None or found.id != first.id else found

        agent = Agent(
            reactor=self._reactor,
            voice=voice,
            runner=runner,
            files=GuestFiles(
                reactor=self._reactor, say=voice.say, writable=voice.writable, notes=self._notes
            ),
            describe=now,
            session=str(uuid.uuid4()),
            version=_version(),
            beacon_interval_s=config.vm.beacon_interval,
        )
        self._agent, self._client = agent, client
        client.startService()


def _describer(config: GuestConfig) -> Callable[[], Descriptor | None]:
    return lambda: describe(config.vm)


def _version() -> str:
    try:
        return metadata.version("vmcontroller")
    except metadata.PackageNotFoundError:  # copied into a guest without its metadata
        return ""
