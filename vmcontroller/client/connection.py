"""One HTTP connection to a daemon, kept open and made again; over TCP, TLS or a Unix socket."""

from __future__ import annotations

import base64
import contextlib
import http.client
import select
import socket
import ssl
import time
from dataclasses import dataclass
from typing import Final

from vmcontroller.client.address import Address
from vmcontroller.client.errors import (
    BadAnswer,
    ConnectionLost,
    TimedOut,
    Unauthorized,
    Unreachable,
)
from vmcontroller.client.overriding import override

CONNECT_S: Final = 10.0
IDLE_S: Final = 45.0
"""A connection that was not used for so long is made anew: the daemon closes it after 60 s."""
ANSWER_MAX_BYTES: Final = 512 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Who calls, and how both sides know each other."""

    user: str = ""
    password: str = ""
    token: str = ""
    ca: str = ""
    """A file of certificates (PEM) that the daemon's must descend from; '' is the system's."""
    certificate: str = ""
    key: str = ""
    """Files (PEM) of the client's own certificate; `key` is '' where `certificate` has both."""
    reason: str = ""
    """Why the calls are made, for the daemon's audit log."""

    def headers(self) -> dict[str, str]:
        """Return what every request says; raises ValueError for what no header can carry."""
        found = {}
        if self.token:
            found["Authorization"] = f"Bearer {_one_line('token', self.token)}"
        elif self.user:
            pair = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
            found["Authorization"] = f"Basic {pair}"
        if self.reason:
            found["X-VMController-Reason"] = _one_line("reason", self.reason)
        return found


def _one_line(what: str, text: str) -> str:
    if not text.isprintable() or not text.isascii():
        raise ValueError(f"the {what} must be printable ASCII")
    return text


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=CONNECT_S)
        self._path = path

    @override
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(CONNECT_S)
        self.sock.connect(self._path)


class Connection:
    """Posts one request after the other. Not for two threads at once."""

    def __init__(self, address: Address, credentials: Credentials) -> None:
        """Nothing is connected yet. Raises ValueError, or OSError for files that can't be read."""
        self.address = address
        self._headers = {"Content-Type": "text/xml", **credentials.headers()}
        self._tls = _tls_of(credentials) if address.tls else None
        self._http: http.client.HTTPConnection | None = None
        self._used_s = 0.0

    def post(self, body: bytes, timeout_s: float | None) -> bytes:
        """Send a request and return the answer; `timeout_s` None: however long it takes.

        Raises Unreachable, ConnectionLost, TimedOut, Unauthorized or BadAnswer. A request is never
        sent twice: whether it was done is not known when its connection breaks.
        """
        connection = self._connected()
        try:
            assert connection.sock is not None
            connection.sock.settimeout(timeout_s)
            connection.request("POST", self.address.path, body, self._headers)
            response = connection.getresponse()
            answer = response.read(ANSWER_MAX_BYTES)
        except BaseException as error:
            self.close()
            if isinstance(error, OSError | http.client.HTTPException):
                raise self._lost(error, timeout_s) from error
            raise
        self._used_s = time.monotonic()
        if response.will_close:
            self.close()
        if response.status != http.client.OK:
            self.close()
            raise self._refused(response, answer)
        return answer

    def abort(self) -> None:
        """Let the request fail that another thread waits for."""
        connection = self._http
        sock = connection.sock if connection is not None else None
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Hang up; the next request connects again."""
        if self._http is not None:
            self._http.close()
            self._http = None

    def _connected(self) -> http.client.HTTPConnection:
        if self._http is not None and not self._is_fresh(self._http):
            self.close()
        if self._http is None:
            made = self._new()
            try:
                made.connect()
            except (OSError, ValueError) as error:
                made.close()
                raise Unreachable(unreachable(self.address, error)) from error
            if not self.address.socket:
                _find_dead_peers(made.sock)
            self._http = made
        return self._http

    def _new(self) -> http.client.HTTPConnection:
        address = self.address
        if address.socket:
            return _UnixConnection(address.socket)
        if self._tls is not None:
            return http.client.HTTPSConnection(
                address.host, address.port, timeout=CONNECT_S, context=self._tls
            )
        return http.client.HTTPConnection(address.host, address.port, timeout=CONNECT_S)

    def _is_fresh(self, connection: http.client.HTTPConnection) -> bool:
        """Tell whether the daemon has not hung up meanwhile: then there would be an end to read."""
        if connection.sock is None or time.monotonic() - self._used_s > IDLE_S:
            return False
        poll = select.poll()
        poll.register(connection.sock, select.POLLIN)
        return not poll.poll(0)

    def _lost(self, error: Exception, timeout_s: float | None) -> ConnectionLost:
        where = self.address.shown
        if isinstance(error, TimeoutError):
            return TimedOut(
                f"{where} did not answer within {timeout_s:g} s; it may still be at it"
                if timeout_s
                else f"{where} did not answer"
            )
        return ConnectionLost(
            f"the connection to {where} broke ({str(error) or type(error).__name__}); "
            "the call may have been done or not: look before you call again"
        )

    def _refused(self, response: http.client.HTTPResponse, body: bytes) -> Exception:
        where = self.address.shown
        said = body[:200].decode("utf-8", "replace").strip()
        if response.status == http.client.UNAUTHORIZED:
            return Unauthorized(
                f"{where} wants a user and password, or a token, that it knows: {said}"
            )
        return BadAnswer(f"{where} answered {response.status} {response.reason}: {said}")


def unreachable(address: Address, error: Exception) -> str:
    """Say why there is no connection, and what to do about it."""
    why = getattr(error, "strerror", None) or str(error) or type(error).__name__
    advice = "is the address right, and the network up?"
    if isinstance(error, ssl.SSLCertVerificationError):
        why = error.verify_message
        advice = "name the authority that has signed its certificate (ca, --ca)"
    elif isinstance(error, ssl.SSLError):
        advice = "does it speak TLS, and does it want a certificate of yours?"
    elif isinstance(error, PermissionError):
        advice = "the socket is for root and its group, `vmcontroller`: are you in it?"
    elif isinstance(error, ConnectionRefusedError | FileNotFoundError):
        advice = "is vmcontroller-host running there?"
    return f"{address.shown}: {why}; {advice}"


def _find_dead_peers(sock: socket.socket) -> None:
    """Let the system notice, within about a minute, that the other side is gone."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _tls_of(credentials: Credentials) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=credentials.ca or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if credentials.certificate:
        context.load_cert_chain(credentials.certificate, credentials.key or None)
    return context
