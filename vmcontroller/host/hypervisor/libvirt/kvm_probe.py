"""Does KVM really run a guest here? Tried once with a boot sector, then remembered.

That /dev/kvm opens and libvirt lists the domain type says little: there are hosts where a
guest's kernel mode is interpreted, a hundred times slower than TCG, so that no agent ever
says HELLO. See docs/decisions/0002-kvm-or-tcg.md.
"""

from __future__ import annotations

import json
import resource
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.interfaces import IDelayedCall, IProcessTransport
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from typing_extensions import override

from vmcontroller.host.hypervisor.libvirt.boot_probe import EXIT_PORT, EXIT_STATUS, boot_sector

DEADLINE_S = 10.0
_CPU_LIMIT_S = 30
"""The probe's QEMU ends by itself after so much CPU time, should the daemon die meanwhile."""
_KEPT_OUTPUT_BYTES = 2000
_FILE = "kvm-probe.json"


class SpawningReactor(Protocol):
    """What is needed of the reactor here."""

    def callLater(
        self, delay: float, call: Callable[..., Any], /, *args: object, **kw: object
    ) -> IDelayedCall: ...

    def spawnProcess(
        self,
        processProtocol: Any,
        executable: Any,
        args: Any = (),
        env: Any = None,
    ) -> IProcessTransport: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came of a try."""

    works: bool
    detail: str
    lasting: bool = True
    """It will not be otherwise until the host or its QEMU changes."""


def remembered(text: str, key: str) -> Verdict | None:
    """Read the file of an earlier try; None when it is of another boot or QEMU, or no such file."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    if not isinstance(found, dict) or found.get("key") != key:
        return None
    works, detail = found.get("works"), found.get("detail")
    if not isinstance(works, bool) or not isinstance(detail, str):
        return None
    return Verdict(works=works, detail=detail)


def to_remember(verdict: Verdict, key: str) -> str:
    """Return the text for `remembered`."""
    return json.dumps({"key": key, "works": verdict.works, "detail": verdict.detail}) + "\n"


def verdict_of(status: int | None, output: str, *, timed_out: bool) -> Verdict:
    """Judge by QEMU's exit status (None: ended by a signal) and what it printed.

    The boot sector's own word, a passed deadline and a QEMU that crashed are lasting: where KVM
    refuses what QEMU's processor needs, QEMU aborts (seen with an MSR), and would for libvirt.
    QEMU not starting (no permission, say) may be otherwise the next time.
    """
    if timed_out:
        return Verdict(
            works=False, detail=f"a boot sector did not get through within {DEADLINE_S:g} s"
        )
    if status == EXIT_STATUS:
        return Verdict(works=True, detail="a boot sector got through")
    said = output.strip() or f"exit status {status}"
    return Verdict(works=False, detail=f"QEMU ended: {said}", lasting=status is None)


def command(emulator: str, disk: str) -> Sequence[str]:
    """Return the argument vector that boots `disk`, a floppy, under KVM."""
    return [
        emulator,
        *("-machine", "pc,accel=kvm", "-cpu", "host", "-m", "16"),
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *("-device", f"isa-debug-exit,iobase={EXIT_PORT:#x},iosize=1"),
        *("-drive", f"if=floppy,format=raw,readonly=on,file={disk.replace(',', ',,')}"),
    ]


class _Try(ProcessProtocol):
    """One run of QEMU; `done` fires with its exit status, or None after a signal."""

    def __init__(self, done: Deferred[int | None]) -> None:
        self._done = done
        self.output = b""

    @override
    def outReceived(self, data: bytes) -> None:
        self.output = (self.output + data)[:_KEPT_OUTPUT_BYTES]

    @override
    def errReceived(self, data: bytes) -> None:
        self.outReceived(data)

    @override
    def processEnded(self, reason: Failure) -> None:
        ended = reason.value
        if isinstance(ended, ProcessDone | ProcessTerminated):
            self._done.callback(ended.exitCode)
        else:
            self._done.callback(None)


class KvmProbe:
    """Tries KVM with one program, and keeps the answer in the state directory."""

    _log = Logger()

    def __init__(self, *, reactor: SpawningReactor, state_dir: str, boot_id: str) -> None:
        self._reactor = reactor
        self._state_dir = Path(state_dir)
        self._boot_id = boot_id

    async def works(self, emulator: str, version: int) -> bool:
        """Answer at once what is remembered of this program since the host booted, else try."""
        key = f"{self._boot_id} {emulator} {version}"
        file = self._state_dir / _FILE
        verdict = remembered(_read(file), key)
        if verdict is None:
            verdict = await self._try(emulator)
            self._log.info(
                "KVM {answer}: {detail}",
                answer="works" if verdict.works else "is not used",
                detail=verdict.detail,
            )
            if verdict.lasting:
                self._keep(file, to_remember(verdict, key))
        return verdict.works

    async def _try(self, emulator: str) -> Verdict:
        done: Deferred[int | None] = Deferred()
        protocol = _Try(done)
        with tempfile.NamedTemporaryFile(prefix="vmcontroller-probe-") as disk:
            disk.write(boot_sector())
            disk.flush()
            try:
                process = self._reactor.spawnProcess(
                    protocol, emulator, command(emulator, disk.name), env={}
                )
            except OSError as error:
                return Verdict(works=False, detail=str(error), lasting=False)
            return await self._judge(process, protocol, done)

    async def _judge(
        self, process: IProcessTransport, protocol: _Try, done: Deferred[int | None]
    ) -> Verdict:
        _limit(process)
        timer = self._reactor.callLater(DEADLINE_S, process.signalProcess, "KILL")
        try:
            status = await done
        except BaseException:  # cancelled: nobody wants the answer, and QEMU must not run on
            process.signalProcess("KILL")
            raise
        finally:
            timed_out = not timer.active()
            if not timed_out:
                timer.cancel()
        return verdict_of(status, protocol.output.decode("utf-8", "replace"), timed_out=timed_out)

    def _keep(self, file: Path, text: str) -> None:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            part = file.with_suffix(".part")
            part.write_text(text, encoding="utf-8")
            part.replace(file)
        except OSError as error:
            self._log.warn("what came of KVM is not remembered: {error}", error=str(error))


def _limit(process: IProcessTransport) -> None:
    pid = getattr(process, "pid", None)
    if pid is not None:
        resource.prlimit(pid, resource.RLIMIT_CPU, (_CPU_LIMIT_S, _CPU_LIMIT_S))


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def this_boot() -> str:
    """Return the kernel's id of the host's current boot; '' where there is none."""
    return _read(Path("/proc/sys/kernel/random/boot_id")).strip()
