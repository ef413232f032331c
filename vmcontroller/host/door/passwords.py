"""Checks names and passwords without holding up the reactor, and seldom twice."""

from __future__ import annotations

import math
from typing import Any, Final

from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.interfaces import IReactorTime

from vmcontroller.common.copying.course import InThread
from vmcontroller.host.users.failures import Failures
from vmcontroller.host.users.passwords import PASSWORD_MAX_BYTES, verify
from vmcontroller.host.users.records import User
from vmcontroller.host.users.remembered import Remembered
from vmcontroller.host.users.user_file import UserFile
from vmcontroller.host.xmlrpc.gate import Refusal

AT_ONCE: Final = 1
"""Each takes 16 MiB, and a processor core."""
WAITING_MOST: Final = 32
"""Different passwords that wait to be checked: some six seconds."""


class Passwords:
    """Knows which user a name and a password are of."""

    def __init__(self, users: UserFile, in_thread: InThread, clock: IReactorTime) -> None:
        self._users = users
        self._in_thread = in_thread
        self._clock = clock
        self._remembered = Remembered()
        self._failures = Failures()
        self._turn: Any = DeferredSemaphore(AT_ONCE)
        self._waiting: dict[bytes, list[Deferred[User | None]]] = {}

    def remembered(self, name: str, password: str) -> User | None:
        """Return the user of a pair that was right a moment ago, at once."""
        version, users = self._users.state
        if self._remembered.has(name, password, version, self._clock.seconds()):
            return users.named(name)
        return None

    async def check(self, name: str, password: str, client: str) -> User | Refusal | None:
        """Return the user; None for a wrong pair; why it is not looked at now.

        `client` may be wrong a few times only.
        """
        wait_s = self._failures.wait_s(client, self._clock.seconds())
        if wait_s > 0:
            return _too_often(wait_s)
        if len(password.encode("utf-8", "surrogateescape")) > PASSWORD_MAX_BYTES:
            return None
        digest = self._remembered.digest(name, password)
        if digest not in self._waiting and len(self._waiting) >= WAITING_MOST:
            return Refusal(
                status="503 Service Unavailable",
                text="Too many passwords wait to be checked.",
                headers=(("Retry-After", "1"),),
            )
        user = await self._checked(digest, name, password)
        if user is None:
            self._failures.note(client, self._clock.seconds())
        return user

    async def _checked(self, digest: bytes, name: str, password: str) -> User | None:
        """Check a pair once, however many wait for it."""
        waiting = self._waiting.get(digest)
        if waiting is not None:
            answer: Deferred[User | None] = Deferred()
            waiting.append(answer)
            return await answer
        waiting = self._waiting[digest] = []
        user: User | None = None
        try:
            version, user = await self._turn.run(self._in_thread, self._look, name, password)
            if user is not None:
                self._remembered.add(name, password, version, self._clock.seconds())
        finally:
            del self._waiting[digest]
            for answer in waiting:
                answer.callback(user)
        return user

    def _look(self, name: str, password: str) -> tuple[int, User | None]:
        """Check for real; blocks."""
        self._users.refresh()
        version, users = self._users.state
        user = users.named(name)
        return version, user if verify(password, user.password if user else "") else None


def _too_often(wait_s: float) -> Refusal:
    return Refusal(
        status="429 Too Many Requests",
        text=f"Wrong too often: try again in {math.ceil(wait_s)} seconds.",
        headers=(("Retry-After", str(math.ceil(wait_s))),),
    )
