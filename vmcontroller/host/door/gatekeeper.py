"""Lets callers in: by password, token, account of this host or certificate. The rules only."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred

from vmcontroller.host.callers import ADMIN, Caller
from vmcontroller.host.door.passwords import Passwords
from vmcontroller.host.door.peers import certified_name, peer_of
from vmcontroller.host.users.records import User
from vmcontroller.host.users.user_file import UserFile
from vmcontroller.host.xmlrpc.gate import Peer, Refusal, RequestHead, Verdict
from vmcontroller.host.xmlrpc.head import Headers, clean, headers_of, reason_of, wrong_host

UNAUTHORIZED: Final = "401 Unauthorized"

_CHALLENGES: Final = (
    ("WWW-Authenticate", 'Basic realm="VMController", charset="UTF-8"'),
    ("WWW-Authenticate", 'Bearer realm="VMController"'),
)


class AccountNames(Protocol):
    """Names of accounts of this host."""

    def known(self, uid: int) -> str | None:
        """Return the name, where it was asked for a moment ago."""
        ...

    async def find(self, uid: int) -> str:
        """Return the name, or what stands for it."""
        ...


class Refused(Protocol):
    """Is told whom the gate refuses."""

    def __call__(self, peer: Peer, name: str, why: str) -> None:
        """Note it; `name` is what they say of themselves, '' for nothing."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the configuration says."""

    anonymous: bool
    hosts: Collection[str]
    """Names and addresses of this host, in lower case."""
    socket_gid: int | None
    """The group whose members may use the socket."""
    socket_roles: frozenset[str]
    own_uid: int


class Gatekeeper:
    """The gate of all listening ports (`xmlrpc.gate.Gate`)."""

    peer_of: Callable[[Any], Peer] = staticmethod(peer_of)

    def __init__(
        self,
        rules: Rules,
        *,
        users: UserFile,
        passwords: Passwords,
        accounts: AccountNames,
        refresh: Callable[[], Deferred[None]],
        refused: Refused,
    ) -> None:
        """`refresh` reads the file of users again, if it has changed."""
        self._rules = rules
        self._users = users
        self._passwords = passwords
        self._accounts = accounts
        self._refresh = refresh
        self._refused = refused

    def admit(self, head: RequestHead, peer: Peer, transport: Any) -> Verdict | Deferred[Verdict]:
        """Return who makes this request, or why it is refused; at once where that is possible."""
        headers = headers_of(head)
        on_socket = peer.uid >= 0
        if not on_socket and (wrong := self._wrong_host(headers, transport)):
            self._refused(peer, "", wrong.status)
            return wrong
        entry = _Entry(peer, reason_of(headers))
        if self._rules.anonymous and not on_socket:
            return entry.caller("anonymous", frozenset({ADMIN}), client=peer.key)
        credentials = headers(b"Authorization")
        if credentials:
            return self._with(entry, credentials)
        return self._of_account(entry) if on_socket else self._certified(entry, transport)

    def _certified(self, entry: _Entry, transport: Any) -> Verdict:
        name = certified_name(transport)
        user = self._users.state[1].named(name) if name else None
        if user is not None:
            return entry.of_user(user)
        return self._no(entry, name, f"{name!r:.80} is no user." if name else "Log in.")

    def _wrong_host(self, headers: Headers, transport: Any) -> Refusal | None:
        here = transport.getHost().host.lower()
        scheme = "https" if hasattr(transport, "getPeerCertificate") else "http"
        return wrong_host(headers, {*self._rules.hosts, here}, scheme=scheme)

    def _with(self, entry: _Entry, credentials: Sequence[bytes]) -> Verdict | Deferred[Verdict]:
        if len(credentials) > 1:
            return self._no(entry, "", "There is more than one Authorization.")
        scheme, _, rest = credentials[0].partition(b" ")
        if scheme.lower() == b"bearer":
            token = rest.strip().decode("latin-1")
            user = self._users.state[1].of_token(token)
            if user is not None:
                return entry.of_user(user)
            return Deferred.fromCoroutine(self._by_token(entry, token))
        pair = _pair(rest) if scheme.lower() == b"basic" else None
        if pair is None:
            return self._no(entry, "", "Authorization must be Basic or Bearer.")
        user = self._passwords.remembered(*pair)
        if user is not None:
            return entry.of_user(user)
        return Deferred.fromCoroutine(self._by_password(entry, *pair))

    async def _by_token(self, entry: _Entry, token: str) -> Verdict:
        await self._refresh()  # it may be new
        user = self._users.state[1].of_token(token)
        if user is None:
            return self._no(entry, "", "The token is not known.")
        return entry.of_user(user)

    async def _by_password(self, entry: _Entry, name: str, password: str) -> Verdict:
        found = await self._passwords.check(name, password, entry.peer.key)
        if isinstance(found, User):
            return entry.of_user(found)
        if found is None:
            return self._no(entry, name, "Name or password is wrong.")
        self._refused(entry.peer, clean(name, 64), found.status)
        return found

    def _of_account(self, entry: _Entry) -> Verdict | Deferred[Verdict]:
        uid = entry.peer.uid
        if uid == 0:
            return entry.caller("root", frozenset({ADMIN}))
        name = self._accounts.known(uid)
        if name is not None:
            return self._account(entry, name)
        return Deferred.fromCoroutine(self._find_account(entry))

    async def _find_account(self, entry: _Entry) -> Verdict:
        return self._account(entry, await self._accounts.find(entry.peer.uid))

    def _account(self, entry: _Entry, name: str) -> Verdict:
        if entry.peer.uid == self._rules.own_uid:
            return entry.caller(name, frozenset({ADMIN}))
        user = self._users.state[1].named(name)
        if user is not None:
            return entry.of_user(user)
        if self._rules.socket_gid in entry.peer.gids:
            return entry.caller(name, self._rules.socket_roles)
        return self._no(entry, name, f"The account {name!r:.80} may not use this socket.")

    def _no(self, entry: _Entry, name: str, text: str) -> Refusal:
        self._refused(entry.peer, clean(name, 64), UNAUTHORIZED)
        return Refusal(status=UNAUTHORIZED, text=text, headers=_CHALLENGES)


@dataclass(frozen=True, slots=True)
class _Entry:
    """Somebody at the gate."""

    peer: Peer
    reason: str

    def caller(self, name: str, roles: frozenset[str], client: str = "") -> Caller:
        return Caller(
            name=name, roles=roles, address=self.peer.address, client=client, reason=self.reason
        )

    def of_user(self, user: User) -> Caller:
        return self.caller(user.name, user.roles)


def _pair(text: bytes) -> tuple[str, str] | None:
    """Return name and password of HTTP Basic; None for what is none."""
    try:
        octets = base64.b64decode(text.strip(), validate=True)
    except (ValueError, binascii.Error):
        return None
    name, colon, password = octets.decode("utf-8", "surrogateescape").partition(":")
    return (name, password) if colon else None
