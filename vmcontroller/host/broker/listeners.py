"""The ports of one kind that the broker listens on: opened, closed and told about."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import DeferredLock, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.tcp import Port
from twisted.logger import Logger

_ACCEPTED_AT_ONCE = 1

Open = Callable[[str, int], IListeningPort]
"""Listens on an address and a port; raises CannotListenError."""


class Listeners:
    """A set of addresses that is kept equal to what is asked for, all with one port."""

    _log = Logger()

    def __init__(self, kind: str, open_port: Open) -> None:
        self._kind = kind
        self._open_port = open_port
        self._port = 0
        self._ports: dict[str, IListeningPort] = {}
        self._told: dict[str, str] = {}
        self._changing = DeferredLock()

    async def listen(self, addresses: Sequence[str], port: int) -> dict[str, str]:
        """Make the set of addresses exactly this.

        Returns, by address, why one could not be opened; the others are open all the same. With
        port 0 each new address gets a port of its own.
        """
        async with self._changing:
            for address, real_port in self.listening().items():
                if address not in addresses or port not in {0, real_port}:
                    await self._close(address)
            self._port = port
            failed = {}
            for address in addresses:
                if address not in self._ports and (problem := self._open(address)):
                    failed[address] = problem
            return failed

    def listening(self) -> dict[str, int]:
        """Return the addresses that are open, and the real port of each."""
        return {address: _number(port) for address, port in self._ports.items()}

    def _open(self, address: str) -> str:
        try:
            port = self._open_port(address, self._port)
        except CannotListenError as error:
            problem = str(error.socketError)
            if self._told.get(address) != problem:  # tried again and again: told once
                self._told[address] = problem
                self._log.warn(
                    "the broker cannot listen on {address} port {port} ({kind}): {problem}",
                    address=address,
                    port=self._port,
                    kind=self._kind,
                    problem=problem,
                )
            return problem
        accept_few_at_once(port)
        self._told.pop(address, None)
        self._ports[address] = port
        self._log.info(
            "the broker listens on {address} port {port} ({kind})",
            address=address,
            port=_number(port),
            kind=self._kind,
        )
        return ""

    async def _close(self, address: str) -> None:
        port = self._ports.pop(address)
        await maybeDeferred(port.stopListening)
        self._log.info(
            "the broker no longer listens on {address} ({kind})", address=address, kind=self._kind
        )


def accept_few_at_once(port: IListeningPort) -> None:
    """Let other connections have their turn while many come, as one guest can cause.

    Twisted accepts a hundred and more before it looks at anything else: 50 ms.
    """
    if not isinstance(port, Port):
        return
    accept = port.doRead

    def accept_few() -> None:
        port.numberAccepts = _ACCEPTED_AT_ONCE
        accept()  # type: ignore[no-untyped-call]

    port.doRead = accept_few  # type: ignore[method-assign]


def _number(port: IListeningPort) -> int:
    return cast("IPv4Address | IPv6Address", port.getHost()).port
