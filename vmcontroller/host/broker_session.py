"""The daemon's session with its broker: the one in its own process, or an external one."""

# Twisted's services have few annotations.
# mypy: disallow-untyped-calls=False

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred

from vmcontroller.common.config import BrokerConfig
from vmcontroller.common.copying.course import BULK_CHUNK_BYTES, Way
from vmcontroller.common.destinations import CONNECTIONS, RESPONSES
from vmcontroller.common.model import GuestId
from vmcontroller.common.stomp.client import Message, StompClient
from vmcontroller.common.words.ears import Word
from vmcontroller.host.broker.own_client import OwnClient
from vmcontroller.host.broker.service import BrokerService
from vmcontroller.host.external_broker import credentials_of, endpoint_of

_LISTENED_TO = (CONNECTIONS, RESPONSES)


class BrokerSession:
    """Speaks to guests through whichever broker it is."""

    def __init__(
        self,
        *,
        config: BrokerConfig,
        broker: BrokerService,
        reactor: Any,
        on_message: Callable[[Message], None],
        on_connected: Callable[[], None],
        on_lost: Callable[[str], None],
    ) -> None:
        """`broker` is the embedded one; it is used unless `config` names another."""
        self._client: OwnClient | StompClient
        if config.is_external:
            self._client = StompClient(
                endpoint=endpoint_of(config, reactor),
                reactor=reactor,
                credentials=credentials_of(config),
                subscriptions=_LISTENED_TO,
                on_message=on_message,
                on_connected=on_connected,
                on_lost=on_lost,
            )
        else:
            self._client = OwnClient(
                broker=broker.factory,
                clock=reactor,
                subscriptions=_LISTENED_TO,
                on_message=on_message,
                on_connected=on_connected,
                on_lost=on_lost,
            )

    @property
    def running(self) -> bool:
        """It has been started and not stopped."""
        return bool(self._client.running)

    def start(self) -> None:
        """Begin."""
        self._client.startService()

    def stop(self) -> Deferred[None]:
        """End the session; fires when it is over."""
        return self._client.stopService()

    def send(self, destination: str, body: bytes, headers: Mapping[str, str]) -> None:
        """Send a message; raises NotConnected, and ProtocolError for an impossible header."""
        self._client.send(destination, body, headers)

    async def room(self, guest: GuestId, *, bulk: bool = False) -> None:
        """Return when a connection of a guest takes more; raises NotConnected.

        An external broker does not say so: there it is when the way to it takes more.
        """
        if isinstance(self._client, OwnClient):
            await self._client.room(guest, bulk=bulk)
        else:
            await self._client.writable()

    def bulk_way(self, guest: GuestId, say: Callable[[Word], None]) -> Way:
        """Return the way of bytes to a guest's second connection, on which `say` says words."""
        return Way(
            say=say,
            writable=lambda: self.room(guest, bulk=True),
            chunk_bytes=BULK_CHUNK_BYTES,
        )
