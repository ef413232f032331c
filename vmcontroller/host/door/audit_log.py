"""The audit log: one line of JSON for each call that changes something, and for each refusal.

Lines are written in a thread, in order, and all of them before the daemon ends. The file is opened
for each batch, so that whoever rotates it need not tell us.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from vmcontroller.common.background import in_background, pause
from vmcontroller.common.copying.course import InThread
from vmcontroller.common.errors import ConfigError
from vmcontroller.host.callers import Caller
from vmcontroller.host.xmlrpc.gate import Peer

WAITING_MOST: Final = 100_000
"""Lines that wait for a disk that can't be written to; more are lost, and counted."""
GATHER_S: Final = 0.1
"""A line waits so long for others: the thread that writes would be in the way of its call."""
RETRY_S: Final = 5.0
REFUSALS_AT_ONCE: Final = 20
REFUSALS_EVERY_S: Final = 1.0
"""Of one client at the gate so many lines are written; the next says how many were left out."""
UNFINISHED: Final = "UNFINISHED"
"""The result of a call that was under way when the daemon ended."""


class AuditLog:
    """One file of one daemon."""

    _log = Logger()

    def __init__(
        self, path: str, *, in_thread: InThread, clock: IReactorTime, wall_s: Callable[[], float]
    ) -> None:
        self._path = path
        self._in_thread = in_thread
        self._clock = clock
        self._wall_s = wall_s
        self._lines: deque[str] = deque()
        self._lost = 0
        self._busy = False
        self._writing: Deferred[None] | None = None
        self._rest: Deferred[None] = succeed(None)
        """The last writing, which may have ended."""
        self._under_way: dict[_Call, None] = {}
        self._refusals: dict[str, _Tally] = {}
        self._closed = False

    def open(self) -> None:
        """Make the file. Blocks; raises ConfigError."""
        try:
            _append(self._path, "")
        except OSError as error:
            raise ConfigError(
                "xmlrpc", "audit_log", f"{self._path!r} cannot be written: {error.strerror}"
            ) from error

    def begins(self, caller: Caller, method: str, said: Mapping[str, object]) -> _Call:
        """Begin a call (`xmlrpc.audit.Audit`)."""
        call = _Call(self, caller, method, said, self._clock.seconds())
        self._under_way[call] = None
        return call

    def ended(self, call: _Call, result: str) -> None:
        """Write a call down, once."""
        if call not in self._under_way:
            return
        del self._under_way[call]
        entry: dict[str, object] = {
            "who": call.caller.name,
            "from": call.caller.address,
            "method": call.method,
            "arguments": call.said,
            "result": result,
            "duration": round(self._clock.seconds() - call.began_s, 6),
        }
        if call.caller.reason:
            entry["reason"] = call.caller.reason
        self._add(entry)

    def refused(self, peer: Peer, name: str, why: str) -> None:
        """Note whom the gate did not let in: of one client not more than a few lines at once."""
        now_s = self._clock.seconds()
        tally = self._refusals.get(peer.key)
        if tally is None:
            if len(self._refusals) >= 1000:
                self._refusals.clear()
            tally = self._refusals[peer.key] = _Tally(now_s)
        if not tally.may(now_s):
            return
        entry: dict[str, object] = {"who": name, "from": peer.address, "result": why}
        if tally.left_out:
            entry["left-out"], tally.left_out = tally.left_out, 0
        self._add(entry)

    async def close(self) -> None:
        """Write down all that is left; calls still under way, too."""
        for call in tuple(self._under_way):
            call.ends(UNFINISHED)
        self._closed = True
        self._rest.cancel()
        if self._busy and self._writing is not None:
            await self._writing
        while self._lines and await self._write_some():
            pass

    def _add(self, entry: Mapping[str, object]) -> None:
        if len(self._lines) >= WAITING_MOST:
            self._lost += 1
            return
        at = datetime.fromtimestamp(self._wall_s(), UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"at": at.replace("+00:00", "Z"), **entry})
        self._lines.append(line + "\n")
        if not self._busy and not self._closed:
            self._busy = True
            self._writing = in_background(self._write(), "writing the audit log")

    async def _write(self) -> None:
        try:
            wait_s = GATHER_S
            while self._lines and not self._closed:
                self._rest = pause(self._clock, wait_s)
                with contextlib.suppress(CancelledError):  # the log is closed
                    await self._rest
                wait_s = GATHER_S if await self._write_some() else RETRY_S
        finally:
            self._busy = False

    async def _write_some(self) -> bool:
        """Write what there is; tell whether that was possible."""
        lines = list(self._lines)
        try:
            await self._in_thread(_append, self._path, "".join(lines))
        except OSError as error:
            self._log.error(
                "the audit log {path} cannot be written: {problem}; {count} lines wait",
                path=self._path,
                problem=error.strerror,
                count=len(self._lines),
            )
            return False
        for _ in lines:
            self._lines.popleft()
        if self._lost:
            self._log.error("the audit log has lost {count} lines", count=self._lost)
            self._lost = 0
        return True


class _Call:
    """A call under way."""

    __slots__ = ("_log", "began_s", "caller", "method", "said")

    def __init__(
        self,
        log: AuditLog,
        caller: Caller,
        method: str,
        said: Mapping[str, object],
        began_s: float,
    ) -> None:
        self._log = log
        self.caller = caller
        self.method = method
        self.said = said
        self.began_s = began_s

    def ends(self, result: str) -> None:
        self._log.ended(self, result)


class _Tally:
    """How many lines of one client may be written now."""

    def __init__(self, now_s: float) -> None:
        self.left_out = 0
        self._full_at_s = now_s

    def may(self, now_s: float) -> bool:
        full_at_s = max(now_s, self._full_at_s)
        if full_at_s - now_s > (REFUSALS_AT_ONCE - 1) * REFUSALS_EVERY_S:
            self.left_out += 1
            return False
        self._full_at_s = full_at_s + REFUSALS_EVERY_S
        return True


def _append(path: str, text: str) -> None:
    """Add whole lines to the file; blocks. What a full disk took half of is taken back."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    try:
        octets: Any = memoryview(text.encode())
        before = os.fstat(descriptor).st_size
        try:
            while octets:
                octets = octets[os.write(descriptor, octets) :]
        except OSError:
            os.ftruncate(descriptor, before)
            raise
    finally:
        os.close(descriptor)
