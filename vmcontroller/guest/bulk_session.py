"""The second connection as STOMP: the same broker and login, marked, and one subscription."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from typing_extensions import override

from vmcontroller.common.destinations import CONNECTION_KIND, GUEST_ID, KIND_BULK, bulk_of
from vmcontroller.common.errors import NotConnected
from vmcontroller.common.freed_memory import keep_freed_memory
from vmcontroller.common.model import GuestId
from vmcontroller.common.stomp.client import Credentials, Message, StompClient
from vmcontroller.common.words.ears import Word
from vmcontroller.guest.bulk import Outcome, Session
from vmcontroller.guest.voice import Voice


class BulkSession(Session):
    """One session; it is not begun again when it has failed or is lost."""

    def __init__(
        self,
        *,
        endpoint: IStreamClientEndpoint,
        clock: IReactorTime,
        credentials: Callable[[], Credentials],
        own_id: str,
        time: Callable[[], float],
        on_message: Callable[[Message], None],
        outcome: Outcome,
    ) -> None:
        """`own_id` is who this guest is on its first connection; `time` as for Voice."""
        keep_freed_memory()
        self._clock = clock
        self._own_id = own_id
        self._over = False
        self._outcome = outcome
        self._client = StompClient(
            endpoint=endpoint,
            reactor=clock,
            credentials=lambda: replace(credentials(), more=((CONNECTION_KIND, KIND_BULK),)),
            subscriptions=self._subscriptions,
            on_message=on_message,
            on_connected=lambda: self._tell(outcome.ready),
            on_lost=lambda reason: self._tell(outcome.lost, reason),
            on_failed=lambda reason: self._tell(outcome.failed, reason),
            wide=True,
        )
        self._voice = Voice(link=self._client, time=time)
        self._voice.own_id = own_id

    @override
    def start(self) -> None:
        self._client.startService()

    @override
    def stop(self) -> None:
        self._over = True
        # Not at once: it may be a callback of the client that asks for it.
        self._clock.callLater(0, self._client.stopService)

    @override
    def say(self, word: Word) -> None:
        if self._over:
            raise NotConnected("the connection for bulk is closed")
        self._voice.say(word)

    @override
    async def writable(self) -> None:
        await self._voice.writable()

    def _tell(self, what: Callable[..., None], *reason: str) -> None:
        if not self._over:
            what(*reason)

    def _subscriptions(self, headers: Mapping[str, str]) -> Sequence[str]:
        told = headers.get(GUEST_ID, self._own_id)
        if told != self._own_id:
            raise NotConnected(f"the second connection is {told}'s, the first {self._own_id}'s")
        return (bulk_of(GuestId(self._own_id)),)
