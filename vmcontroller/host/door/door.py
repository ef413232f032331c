"""The door of the daemon: where programs call, opened and closed."""

# Twisted's endpoints have few annotations.
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger

from vmcontroller.common.background import Repeated
from vmcontroller.common.copying.course import InThread
from vmcontroller.common.door_config import XmlRpcConfig
from vmcontroller.common.errors import ConfigError
from vmcontroller.host.broker.listeners import accept_few_at_once
from vmcontroller.host.door.accounts import Accounts
from vmcontroller.host.door.audit_log import AuditLog
from vmcontroller.host.door.gatekeeper import Gatekeeper, Rules
from vmcontroller.host.door.passwords import Passwords
from vmcontroller.host.door.tls import door_context
from vmcontroller.host.door.unix_socket import CannotOpen, gid_of, open_socket
from vmcontroller.host.users.user_file import UserFile, read_users
from vmcontroller.host.xmlrpc.dispatch import Dispatcher
from vmcontroller.host.xmlrpc.limits import BoundedSite
from vmcontroller.host.xmlrpc.operations_protocol import Operations
from vmcontroller.host.xmlrpc.resource import Calls, site

USERS_S = 1.0
"""So often it is looked whether the file of users has changed."""
_BACKLOG = 1024


def check_door(config: XmlRpcConfig, source: str) -> None:
    """Raise ConfigError for files of the configuration that would keep the door shut.

    `source` is the configuration's file. Blocks.
    """
    users = None if config.anonymous else read_users(config.users)
    if not config.is_loopback and not users:
        raise ConfigError(
            source,
            "xmlrpc.users",
            f"{config.users} has no users, and {config.listen_on} is not loopback: make one with "
            "`vmcontroller-host passwd NAME --roles admin`",
        )
    if config.has_tls:
        door_context(config)


class Door:
    """All that programs call the daemon by."""

    _log = Logger()

    def __init__(
        self,
        config: XmlRpcConfig,
        operations: Operations,
        *,
        reactor: Any,
        in_thread: InThread,
        state_dir: Path,
        connections: int,
    ) -> None:
        """`connections`: as many as the process has descriptors for, to each address."""
        self._config = config
        self._reactor = reactor
        self._in_thread = in_thread
        self._connections = connections
        self._users = UserFile(config.users)
        self.audit = AuditLog(
            config.audit_log or str(state_dir / "audit.log"),
            in_thread=in_thread,
            clock=reactor,
            wall_s=time.time,
        )
        self._dispatcher = Dispatcher(operations, self.audit)
        self._calls = Calls(config.max_calls_per_client)
        self._socket_gid = gid_of(config.socket_group)
        self._gate = self._gatekeeper()
        self._ports: list[IListeningPort] = []
        self._repeated = Repeated(reactor, USERS_S, "reading the users", self._refresh)

    def _gatekeeper(self) -> Gatekeeper:
        config = self._config
        return Gatekeeper(
            Rules(
                anonymous=config.anonymous,
                hosts=frozenset({config.listen_on, *config.allowed_hosts}),
                socket_gid=self._socket_gid,
                socket_roles=frozenset(config.socket_roles),
                own_uid=os.geteuid(),
            ),
            users=self._users,
            passwords=Passwords(self._users, self._in_thread, self._reactor),
            accounts=Accounts(self._in_thread, self._reactor),
            refresh=self._refresh,
            refused=self.audit.refused,
        )

    async def open(self) -> None:
        """Listen where the configuration says; raises ConfigError when that is not possible."""
        self.audit.open()
        self._open_users()
        check_door(self._config, "xmlrpc")
        self._open_socket()
        self._open_tcp()
        self._repeated.start()

    async def close(self) -> None:
        """Let nobody else in. What is under way goes on."""
        self._repeated.stop()
        ports, self._ports = self._ports, []
        for port in ports:
            await maybeDeferred(port.stopListening)

    def _refresh(self) -> Deferred[None]:
        return self._in_thread(self._users.refresh)

    def _open_users(self) -> None:
        try:
            self._users.open()
        except ConfigError as error:
            if not self._config.anonymous:
                raise
            self._log.warn("{error}", error=str(error))
        if self._config.anonymous:
            self._log.warn(
                "XML-RPC on {address} port {port} is ANONYMOUS: whoever reaches it may do all",
                address=self._config.listen_on,
                port=self._config.port,
            )
        elif not self._users.state[1]:
            self._log.info(
                "{path} has no users yet: `vmcontroller-host passwd NAME --roles admin` makes one; "
                "root needs none on the Unix socket",
                path=self._config.users,
            )

    def _site(self) -> BoundedSite:
        return site(
            self._dispatcher,
            self._reactor,
            self._gate,
            connections=self._connections,
            calls=self._calls,
        )

    def _open_tcp(self) -> None:
        config = self._config
        where = {"backlog": _BACKLOG, "interface": config.listen_on}
        try:
            if config.has_tls:
                context = door_context(config)
                port = self._reactor.listenSSL(config.port, self._site(), context, **where)
            else:
                port = self._reactor.listenTCP(config.port, self._site(), **where)
        except CannotListenError as error:
            raise ConfigError(
                "xmlrpc", f"{config.listen_on}:{config.port}", f"cannot listen: {error.socketError}"
            ) from error
        self._ports.append(port)
        accept_few_at_once(port)
        self._log.info(
            "ready: XML-RPC on {address} port {port}{tls}",
            address=config.listen_on,
            port=port.getHost().port,
            tls=" (TLS)" if config.has_tls else "",
        )

    def _open_socket(self) -> None:
        path, group = self._config.socket, self._config.socket_group
        if not path:
            return
        try:
            port = open_socket(self._reactor, path, self._site(), self._socket_gid)
        except CannotOpen as error:
            if not (self._config.anonymous or self._users.state[1]):
                raise ConfigError("xmlrpc", "socket", str(error)) from error
            self._log.warn("no Unix socket: {error}", error=str(error))
            return
        self._ports.append(port)
        accept_few_at_once(port)
        whose = f"root and the group {group}" if self._socket_gid is not None else "root only"
        self._log.info("ready: XML-RPC on {path} ({whose})", path=path, whose=whose)
        if group and self._socket_gid is None:
            self._log.info("there is no group {group}: only root may use the socket", group=group)
