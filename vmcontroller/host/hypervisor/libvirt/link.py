"""The connection to libvirt: kept up, its lifecycle events told in the reactor's thread."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import libvirt
from twisted.application.internet import backoffPolicy
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from vmcontroller.common.errors import HypervisorUnreachable, VMControllerError
from vmcontroller.host.hypervisor.libvirt import event_loop
from vmcontroller.host.hypervisor.libvirt.errors import BACKEND, translate
from vmcontroller.host.hypervisor.libvirt.tracker import DomainEvent
from vmcontroller.host.hypervisor.libvirt.worker import ThreadingReactor, Worker

T = TypeVar("T")

KEEPALIVE_INTERVAL_S = 5
KEEPALIVE_COUNT = 3

retry_delay_s = backoffPolicy(initialDelay=0.5, maxDelay=30.0)


class Link:
    """One connection, opened again whenever it is lost, until `close`.

    `on_event` gets each lifecycle event; `on_up` is awaited on a new connection after its
    events are registered and before it counts as up, so that it can list what changed
    meanwhile. Both run in the reactor's thread. `long_worker` has the calls that take long.
    """

    _log = Logger()

    def __init__(
        self,
        *,
        reactor: ThreadingReactor,
        uri: str,
        worker: Worker,
        long_worker: Worker,
        on_event: Callable[[DomainEvent], None],
        on_up: Callable[[], Awaitable[None]],
    ) -> None:
        self._reactor = reactor
        self._uri = uri
        self._worker = worker
        self._long_worker = long_worker
        self._on_event = on_event
        self._on_up = on_up
        self._connection: Any = None
        self._retry: IDelayedCall | None = None
        self._closed = False

    async def open(self) -> None:
        """Connect once; raises HypervisorUnreachable. From then on it is kept up."""
        event_loop.ensure_running()
        await self._connect()

    async def close(self) -> None:
        """Let go. Idempotent."""
        self._closed = True
        if self._retry is not None and self._retry.active():
            self._retry.cancel()
        connection, self._connection = self._connection, None
        if connection is not None:
            await self._drop(connection)

    async def _drop(self, connection: object) -> None:
        try:
            await self._worker.run("close", lambda: _disconnect(connection), deadline_s=5.0)
        except VMControllerError as error:
            self._log.warn("closing {uri}: {error}", uri=self._uri, error=str(error))

    async def call(
        self,
        what: str,
        job: Callable[[Any], T],
        *,
        vm: str = "",
        discard: Callable[[Any, T], None] | None = None,
        is_long: bool = False,
        worker: Worker | None = None,
    ) -> T:
        """Run `job(connection)` in libvirt's thread; one that takes long, or a `worker`'s, there.

        Raises HypervisorUnreachable without a connection, DeadlinePassed, and what `job`
        raises: our errors as they are, libvirt's translated (`vm` names what was asked for).
        A result that comes when nobody waits for it any more is given to
        `discard(connection, result)` there, which may raise as `job` may: that is logged.
        """
        connection = self._connection
        if connection is None:
            raise HypervisorUnreachable(BACKEND, f"not connected to {self._uri}")
        try:
            worker = worker or (self._long_worker if is_long else self._worker)
            return await worker.run(
                what,
                lambda: _translated(job, connection, vm),
                discard=None if discard is None else functools.partial(discard, connection),
            )
        except HypervisorUnreachable as error:
            if isinstance(error.__cause__, libvirt.libvirtError):
                self._lost(connection, str(error))
            raise

    async def _connect(self) -> None:
        connection = await self._worker.run(
            f"connect to {self._uri}",
            lambda: _connect(self._uri, self._events, self._closing),
            discard=_disconnect,
        )
        if self._closed:
            await self._drop(connection)
            return
        self._connection = connection
        try:
            await self._on_up()
        except VMControllerError:
            if self._connection is connection:
                self._connection = None
                await self._drop(connection)
            raise

    def _events(
        self, connection: Any, domain: Any, event: int, detail: int, _opaque: object
    ) -> None:
        """Runs in the event loop's thread, where libvirt must not be called."""
        told = DomainEvent(uuid=domain.UUIDString(), name=domain.name(), event=event, detail=detail)
        self._reactor.callFromThread(self._event, connection, told)

    def _event(self, connection: object, event: DomainEvent) -> None:
        # One that comes before its connection is up is covered by the listing that follows.
        if connection is self._connection:
            self._on_event(event)

    def _closing(self, connection: Any, reason: int, _opaque: object) -> None:
        """Runs in the event loop's thread."""
        self._reactor.callFromThread(self._lost, connection, f"closed, reason {reason}")

    def _lost(self, connection: object, reason: str) -> None:
        if self._closed or connection is not self._connection:
            return
        self._connection = None
        self._log.warn("lost {uri}: {reason}", uri=self._uri, reason=reason)
        self._retry_later(0, dead=connection)

    def _retry_later(self, attempt: int, dead: object = None) -> None:
        self._retry = self._reactor.callLater(
            retry_delay_s(attempt),
            lambda: Deferred.fromCoroutine(self._reconnect(attempt, dead)).addErrback(self._broken),
        )

    async def _reconnect(self, attempt: int, dead: object) -> None:
        if dead is not None:
            await self._drop(dead)
        try:
            await self._connect()
        except VMControllerError as error:
            if not self._closed:
                self._log.warn("no {uri} yet: {error}", uri=self._uri, error=str(error))
                self._retry_later(attempt + 1)
        else:
            self._log.info("connected to {uri} again", uri=self._uri)

    def _broken(self, failure: Any) -> None:
        self._log.failure("reconnecting to {uri}", failure, uri=self._uri)
        if not self._closed:
            self._retry_later(0)


def _translated(job: Callable[[Any], T], connection: Any, vm: str) -> T:
    try:
        return job(connection)
    except libvirt.libvirtError as error:
        raise translate(error, vm=vm) from error


def _connect(uri: str, on_event: Callable[..., None], on_close: Callable[..., None]) -> Any:
    """Open, and ask for events before anything is listed, so that no change falls between."""
    try:
        connection = libvirt.open(uri)
    except libvirt.libvirtError as error:
        raise HypervisorUnreachable(BACKEND, str(error)) from error
    try:
        connection.domainEventRegisterAny(
            None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, on_event, None
        )
        connection.registerCloseCallback(on_close, None)
        _keep_alive(connection)
    except libvirt.libvirtError as error:
        connection.close()
        raise HypervisorUnreachable(BACKEND, str(error)) from error
    return connection


def _keep_alive(connection: Any) -> None:
    try:
        connection.setKeepAlive(KEEPALIVE_INTERVAL_S, KEEPALIVE_COUNT)
    except libvirt.libvirtError as error:
        # The test driver lives in this process and has nothing to keep alive.
        if error.get_error_code() != libvirt.VIR_ERR_NO_SUPPORT:
            raise


def _disconnect(connection: Any) -> None:
    """Close; on a connection that is dead already every step fails, which is no matter."""
    steps: list[Callable[[], object]] = [
        functools.partial(connection.domainEventDeregisterAny, callback)
        for callback in list(connection.domainEventCallbackID)
    ]
    for step in (*steps, connection.unregisterCloseCallback, connection.close):
        with contextlib.suppress(libvirt.libvirtError):
            step()
