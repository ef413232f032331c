"""Where the broker is: an external one as configured, our own on each network as it comes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IOpenSSLContextFactory
from twisted.logger import Logger

from vmcontroller.common.config import BrokerConfig
from vmcontroller.common.credentials import Credential
from vmcontroller.common.errors import ConfigError, Unsupported, VMControllerError
from vmcontroller.host.broker.service import BrokerService
from vmcontroller.host.broker.tls import server_context
from vmcontroller.host.hypervisor.base import AgentAddress, Hypervisor


class BrokerAddresses:
    """Keeps the broker's listening addresses equal to what the configuration asks for."""

    _log = Logger()

    def __init__(
        self, *, config: BrokerConfig, broker: BrokerService, hypervisor: Hypervisor
    ) -> None:
        self._config = config
        self._broker = broker
        self._hypervisor = hypervisor
        self._port = config.port
        self._networks: tuple[str, ...] = ()
        self._tls_context: IOpenSSLContextFactory | None = None

    def prepare(self) -> None:
        """Read the certificate, open the Unix socket: what the configuration asks for and is so.

        Raises ConfigError where it can't be had.
        """
        config = self._config
        if config.is_external:
            return
        if config.tls_port:
            self._tls_context = server_context(config.tls_certificate, config.tls_key)
        if config.socket:
            try:
                self._broker.listen_unix(config.socket)
            except CannotListenError as error:
                raise ConfigError(
                    "broker.socket", config.socket, f"cannot listen: {error.socketError}"
                ) from error

    async def refresh(self) -> None:
        """Open what is missing and close what is gone; what can't be opened yet is logged."""
        if self._config.is_external:
            return
        wanted = await self._wanted()
        if not self._port:  # any free one, but the same on every address: guests are told one
            await self._broker.listen(wanted[:1], 0)
            self._port = next(iter(self._broker.listening().values()), 0)
        await self._broker.listen(wanted, self._port)
        if self._tls_context is not None:
            await self._broker.listen_tls(wanted, self._config.tls_port, self._tls_context)

    def stats(self) -> Mapping[str, Any]:
        """Return what the broker counts, where it listens, and what it allows.

        Raises Unsupported for an external one: that has its own.
        """
        if self._config.is_external:
            raise Unsupported("the external broker", "getBrokerStats: it has its own")
        broker, limits = self._broker, self._broker.factory.limits
        return {
            **broker.factory.stats().answer(),
            "listeners": {
                "tcp": [f"{host} {port}" for host, port in broker.listening().items()],
                "tls": [f"{host} {port}" for host, port in broker.listening_tls().items()],
                "unix": [self._config.socket] if self._config.socket else [],
            },
            "limits": {
                "connections": limits.connections,
                "connectionsPerAddress": limits.connections_per_address,
                "subscriptions": limits.subscriptions,
                "bodyBytes": limits.frame.body_bytes,
                "outboxBytes": limits.outbox_bytes,
                "queueBytes": limits.queue_bytes,
                "framesPerSecond": limits.rates.frames_per_s,
                "bytesPerSecond": limits.rates.bytes_per_s,
            },
        }

    async def _wanted(self) -> Sequence[str]:
        if self._config.host:
            return self._config.host
        try:
            self._networks = await self._hypervisor.guest_networks()
        except VMControllerError as error:  # it may be back soon: its guests still are there
            self._log.debug("guest networks are not known: {error}", error=str(error))
        return list(dict.fromkeys(("127.0.0.1", *self._networks)))

    def for_agents(self) -> AgentAddress:
        """Return what a starting guest is told.

        With `host: auto` the backend may choose any address of its own in the guest's network,
        also of a network that comes up only with the guest: the broker follows.
        """
        if self._config.is_external:
            return AgentAddress(
                port=self._port,
                hosts=self._config.host,
                elsewhere=True,
                credential=self._guest_credential(),
            )
        return AgentAddress(port=self._port, hosts=self._config.host)

    def _guest_credential(self) -> Credential | None:
        """Return what all guests log in with; None leaves it to their own configuration."""
        login, passcode = self._config.guest_username, self._config.guest_password
        return Credential(login=login, passcode=passcode) if login else None
