"""The shape of MorbidQ's interface over this broker: who embedded MorbidQ changes an import.

    from vmcontroller.host.broker import morbid
    reactor.listenTCP(61613, morbid.StompFactory(verbose=True), interface=host)

Compatible with MorbidQ, not MorbidQ: none of its code is here. docs/broker.md says what differs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final, cast

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import ServerFactory
from twisted.logger import Logger
from typing_extensions import override

from vmcontroller.common.errors import ConfigError
from vmcontroller.common.stomp.parser import Limits
from vmcontroller.host.broker import factory
from vmcontroller.host.broker.limits import MOST_CONNECTIONS, BrokerLimits
from vmcontroller.host.broker.morbid_rights import (
    MessageQueueManager,
    MorbidRights,
    Parms,
    QueueError,
    load_parms,
)
from vmcontroller.host.broker.protocol import BrokerConnection

__all__ = [
    "MORBID_LIMITS",
    "MessageQueueManager",
    "Parms",
    "QueueError",
    "StompFactory",
    "get_stomp_factory",
]

MORBID_LIMITS: Final = BrokerLimits(
    frame=Limits(body_bytes=16 << 20),
    connections_per_address=MOST_CONNECTIONS,
    outbox_bytes=64 << 20,
)
"""MorbidQ had none at all; these leave what its users may have relied on: large bodies, and many
clients on one machine."""

_NOT_A_CHOICE: Final = ("port", "interface")
"""Keys of MorbidQ's configuration that mean nothing to a factory: whoever listens decides."""


class StompFactory(ServerFactory):
    """A broker as MorbidQ's constructor made one.

    `filename` is a rights module, see `load_parms`. Rights that were set on `mqm` win over it. As
    MorbidQ's interface names no reactor, the one of the process is taken when it is first needed,
    unless one is given.
    """

    noisy = False
    _log = Logger()

    def __init__(
        self,
        mqm: MessageQueueManager | None = None,
        filename: str | None = None,
        rqaddr: str | None = None,
        verbose: bool = False,
        *,
        reactor: IReactorTime | None = None,
        limits: BrokerLimits = MORBID_LIMITS,
    ) -> None:
        if rqaddr:
            raise ConfigError(
                "MorbidQ's interface",
                "restq",
                "HTTP callbacks are not offered by this broker; a rights module (auth) can decide "
                "who may log in, send and subscribe",
            )
        self.mqm = MessageQueueManager() if mqm is None else mqm
        self.verbose = verbose
        self._rights = MorbidRights(load_parms(filename), self.mqm)
        self._reactor = reactor
        self._limits = limits
        self._made: factory.StompFactory | None = None

    @property
    def broker(self) -> factory.StompFactory:
        """The broker itself; made at the first use, as it needs the reactor."""
        if self._made is None:
            self._made = factory.StompFactory(
                reactor=_the_reactor() if self._reactor is None else self._reactor,
                rights=self._rights,
                limits=self._limits,
            )
        return self._made

    @override
    def buildProtocol(self, addr: IAddress | None) -> BrokerConnection | None:
        return self.broker.buildProtocol(addr)

    def report(self, msg: str) -> None:
        """Log it if `verbose`, as MorbidQ printed it."""
        if self.verbose:
            self._log.info("the broker: {what}", what=msg)

    def close(self) -> Deferred[None]:
        """Tell all peers and close their connections. Fires when they are gone."""
        return succeed(None) if self._made is None else self._made.close()


def get_stomp_factory(
    config_file: str = "", cfg: Mapping[str, object] | None = None
) -> StompFactory:
    """Make a factory from a configuration file of MorbidQ, and `auth`, `restq`, `verbose` of `cfg`.

    The file counts where both say something. Raises ConfigError.
    """
    settings = dict(cfg or {})
    if config_file:
        settings.update(_read(config_file))
    made = StompFactory(
        filename=cast("str | None", settings.get("auth")),
        rqaddr=cast("str | None", settings.get("restq")),
        verbose=bool(settings.get("verbose")),
    )
    made.report(f"starts with {settings}")
    return made


def _read(path: str) -> dict[str, object]:
    """Read lines `key=value`; empty lines and comments (#) are passed over."""
    if not os.path.isfile(path):
        raise ConfigError(path, "", "there is no such file")
    settings: dict[str, object] = {}
    with open(path, encoding="utf-8") as file:
        for line in file:
            text = line.strip()
            if text and not text.startswith("#"):
                key, value = _setting(path, text)
                settings[key] = value
    return settings


def _setting(path: str, text: str) -> tuple[str, object]:
    key, equals, value = (part.strip() for part in text.partition("="))
    if not equals:
        raise ConfigError(path, "", f"{text!r} is not key=value")
    if key == "verbose":
        if value.lower() not in {"true", "false"}:
            raise ConfigError(path, key, f"{value!r} is not one of true, false")
        return key, value.lower() == "true"
    if key == "port" and not value.isdecimal():
        raise ConfigError(path, key, f"{value!r} is not a number")
    if key not in {"auth", "restq", *_NOT_A_CHOICE}:
        raise ConfigError(path, key, "is not one of auth, restq, verbose, port, interface")
    return key, value


def _the_reactor() -> IReactorTime:
    # Not at import: that would choose the reactor before the embedding program does.
    from twisted.internet import reactor  # noqa: PLC0415, TID251

    return cast("IReactorTime", reactor)
