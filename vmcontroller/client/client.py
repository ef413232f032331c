"""The client: every method of a daemon, and what is made of them."""

from __future__ import annotations

import math
import os
from functools import partial
from typing import Any, Self, cast

from vmcontroller.client import wire
from vmcontroller.client.address import address_of, usual_url
from vmcontroller.client.connection import Connection, Credentials
from vmcontroller.client.overriding import override
from vmcontroller.client.work import Work

TIMEOUT_S = 60.0


class Client(Work):
    """A daemon, over one connection that is kept and made again.

    One client is for one thread: `clone` makes another. `with` closes it at the end.
    """

    def __init__(
        self,
        url: str = "",
        *,
        user: str = "",
        password: str = "",
        token: str = "",
        ca: str = "",
        certificate: str = "",
        key: str = "",
        timeout_s: float = TIMEOUT_S,
        reason: str = "",
    ) -> None:
        """Nothing is connected yet.

        `url`: http://HOST[:PORT], https://… or unix:/PATH; '' is $VMCONTROLLER_URL, else the Unix
        socket if it is there, else http://127.0.0.1:50505. `ca`, `certificate` and `key` are files
        (PEM). `timeout_s`: how long an answer may take beyond what the call itself waits; calls
        that take as long as they take, such as copies, have no limit. `reason` is for the daemon's
        audit log. Raises ValueError, or OSError for files that can't be read.
        """
        credentials = Credentials(
            user=user,
            password=password,
            token=token,
            ca=ca,
            certificate=certificate,
            key=key,
            reason=reason,
        )
        self._address = address_of(url or usual_url(os.environ))
        self._connection = Connection(self._address, credentials)
        self._timeout_s = timeout_s
        self._again = partial(
            type(self),
            url,
            user=user,
            password=password,
            token=token,
            ca=ca,
            certificate=certificate,
            key=key,
            timeout_s=timeout_s,
            reason=reason,
        )

    @property
    def url(self) -> str:
        """Where the daemon is."""
        return self._address.shown

    @override
    def call(self, method: str, *params: object, wait_s: float = 0) -> Any:
        """Call a method by its wire name; see Caller."""
        limit_s = self._timeout_s + wait_s
        body = self._connection.post(
            wire.request(method, params), limit_s if math.isfinite(limit_s) else None
        )
        return wire.answer(body)

    @override
    def clone(self) -> Self:
        """Return another client of the same daemon, for another thread."""
        return cast("Self", self._again())

    @override
    def abort(self) -> None:
        """From another thread: let the call that is under way fail."""
        self._connection.abort()

    @override
    def close(self) -> None:
        """Hang up; the next call connects again."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
