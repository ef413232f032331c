"""Commands and all that they start: signals, leftovers, what they use. Real processes."""

from __future__ import annotations

import os
import sys

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from tests.integration.running import Running, read, until
from vmcontroller.common.model import CommandResult, CommandSpec
from vmcontroller.common.words.running import CmdAsk, CmdSignal, CmdSignalled, CmdUsage
from vmcontroller.guest.commands import census
from vmcontroller.guest.commands.command import Patience
from vmcontroller.guest.commands.processes import MARKER

DAEMON = """
import os, sys, time
if os.fork():
    os._exit(0)
os.setsid()
if os.fork():
    os._exit(0)
for fd in range(3):
    os.close(fd)
with open(sys.argv[1] + ".new", "w") as file:
    file.write(str(os.getpid()))
os.rename(sys.argv[1] + ".new", sys.argv[1])
time.sleep(float(sys.argv[2]))
"""
"""A daemon as books on Unix make it: forked twice, in a session of its own, without streams."""

BOMB = """
import os, time
end = time.monotonic() + 30
if os.fork():
    print("up", flush=True)
    time.sleep(60)
for _ in range(6):
    os.fork()
while time.monotonic() < end:
    if os.fork():
        os._exit(0)
    os.setsid()
    time.sleep(0.003)
"""
"""One that waits, and 64 that take to flight: each goes on as its own child, in a new session."""


def lives(pid: int) -> bool:
    """Tell whether a process is there and not dead."""
    stat = census.stat_of(pid)
    return stat is not None and not stat.ended


def has_stopped(pid: int) -> bool:
    """Tell whether a process stands still."""
    stat = census.stat_of(pid)
    return stat is not None and stat.state == "T"


def marked(mark: str) -> list[int]:
    """Return the living processes that a command has started."""
    stats = census.everybody().values()
    found = census.marked(stats, {mark}).get(mark, [])
    return [stat.pid for stat in found if not stat.ended]


def zombies() -> list[int]:
    """Return the children of this process that nobody has waited for."""
    return [pid for pid in census.own_children() if not lives(pid)]


class _Trees(Running):
    patience = Patience(pipe_grace_s=0.2, stop_grace_s=0.5)

    def signal(self, signal: str, cmd_id: str = "id") -> int:
        """Send a signal; return to how many it went."""
        self.host.words()
        self.runner.heard_cmd_signal(CmdSignal(cmd_id=cmd_id, signal=signal))
        (word,) = [word for word in self.host.words() if isinstance(word, CmdSignalled)]
        self.assertEqual((word.cmd_id, word.signal), (cmd_id, signal))
        return word.processes

    def usage(self, cmd_id: str = "id") -> dict[str, float]:
        self.host.words()
        self.runner.heard_cmd_ask(CmdAsk(cmd_id=cmd_id))
        (word,) = [word for word in self.host.words() if isinstance(word, CmdUsage)]
        return dict(word.usage)

    def python(self, script: str, *args: str, **more: object) -> Deferred[CommandResult]:
        spec = CommandSpec(cmd=sys.executable, args=("-c", script, *args), **more)  # type: ignore[arg-type]
        return self.begin(spec)

    async def daemon(self, then: str, *, life_s: int = 60) -> tuple[Deferred[CommandResult], int]:
        """Begin a command that leaves a daemon behind; return its end, and the daemon's pid."""
        note = self.path()
        script = f'{sys.executable} -c "$0" {note} {life_s}; {then}'
        ending = self.begin(CommandSpec(cmd="sh", args=("-c", script, DAEMON)))
        await until(note.exists)
        return ending, int(read(note))


class SignalTests(_Trees):
    """CMD_SIGNAL and time limits."""

    async def test_whole_tree(self) -> None:
        """A signal reaches children and their children, each once."""
        script = "sh -c 'sleep 60 & sleep 61 & wait' & sleep 62 & echo up; wait"
        ending = self.begin(CommandSpec(cmd="sh", args=("-c", script)))
        await until(lambda: len(marked("id")) == 5)
        self.assertEqual(self.signal("TERM"), 5)
        result = await ending
        self.assertEqual((result.finished, result.exit_code_or_signal), (False, 15))
        await until(lambda: not marked("id"))

    async def test_daemon_is_killed(self) -> None:
        """Who has forked twice and called setsid is reached all the same."""
        ending, pid = await self.daemon("sleep 60")
        self.assertEqual(census.stat_of(pid).parent, os.getpid())
        self.assertEqual(self.signal("KILL"), 3)
        self.assertEqual((await ending).exit_code_or_signal, 9)
        await until(lambda: not lives(pid))
        await deferLater(reactor, 0.1)

    async def test_others_are_left_alone(self) -> None:
        """The signal of one command doesn't reach another, nor the daemon it has left."""
        stays, pid = await self.daemon("sleep 60")
        other = self.begin(CommandSpec(cmd="sleep", args=("60",)), "other")
        await until(lambda: marked("other"))
        self.assertEqual(self.signal("KILL", "other"), 1)
        await other
        self.assertTrue(lives(pid))
        self.assertFalse(stays.called)
        self.signal("KILL")
        await stays
        await deferLater(reactor, 0.1)

    async def test_flight(self) -> None:
        """Who keeps starting others, each in a new session, is caught, and the agent lives."""
        before = set(census.own_children())  # of other tests in this process
        ending = self.python(BOMB)
        await until(lambda: self.stdout and len(set(census.own_children()) - before) > 20)
        self.signal("KILL")
        await ending
        await until(lambda: not set(census.own_children()) - before)
        await deferLater(reactor, 0.1)

    async def test_stop_and_go_on(self) -> None:
        """STOP and CONT work on all of it."""
        ending = self.begin(CommandSpec(cmd="sh", args=("-c", "sleep 0.3 & wait; echo end")))
        await until(lambda: len(marked("id")) == 2)
        self.assertEqual(self.signal("STOP"), 2)
        pids = marked("id")
        await until(lambda: all(has_stopped(pid) for pid in pids))
        self.assertFalse(ending.called)
        self.signal("CONT")
        await ending
        self.assertEqual(self.stdout, b"end\n")

    async def test_ended(self) -> None:
        """A command that has ended, or never was, has no processes; and none is asked for."""
        await self.shell("true")
        for cmd_id in ("id", "never was"):
            self.assertEqual(self.signal("KILL", cmd_id), 0)
            self.assertEqual(set(self.usage(cmd_id).values()), {0})

    async def test_timeout_reaches_a_daemon(self) -> None:
        """The time limit ends what the command has left elsewhere, also when that ignores TERM."""
        note = self.path()
        deaf = "import signal; signal.signal(15, signal.SIG_IGN)\n" + DAEMON
        script = f'{sys.executable} -c "$0" {note} 60; sleep 60'
        result = await self.begin(
            CommandSpec(cmd="sh", args=("-c", script, deaf), timeout_s=1, kill_after_s=0.2)
        )
        self.assertEqual((result.exit_code_or_signal, result.timed_out), (15, True))
        pid = int(read(note))
        await until(lambda: not lives(pid))
        await deferLater(reactor, 0.1)


class OrphanTests(_Trees):
    """Who is left behind."""

    async def test_buried(self) -> None:
        """An orphan that ends is buried within a moment, while the command goes on or later."""
        ending, pid = await self.daemon("sleep 2", life_s=0)
        await until(lambda: census.stat_of(pid) is None)
        await ending
        self.assertEqual(zombies(), [])

    async def test_buried_after_the_command(self) -> None:
        """Also one that ends after the command that left it."""
        ending, pid = await self.daemon("true", life_s=1)
        self.assertEqual((await ending).exit_code_or_signal, 0)
        self.assertTrue(lives(pid))
        await until(lambda: census.stat_of(pid) is None)
        await deferLater(reactor, 1.1)

    async def test_its_status_stays_the_commands(self) -> None:
        """Many orphans, and every command's own exit code."""
        for n in range(40):
            script = f"(sleep 0.0{n % 10} &) ; exit {n}"
            self.begin(CommandSpec(cmd="sh", args=("-c", script)), str(n))
        for n in range(40):
            self.assertEqual((await self.host.end(str(n))).exit_code_or_signal, n)
        await until(lambda: not zombies())

    async def test_resources_of_orphans(self) -> None:
        """What an orphan has used is counted to its command."""
        burn = 't = __import__(\\"time\\").process_time\nwhile t() < 0.6: pass'
        script = f'({sys.executable} -c "{burn}"; echo done > $0) & sleep 0.1; exit 0'
        note = self.path()
        waits = f"while [ ! -e {note} ]; do sleep 0.1; done; sleep 0.1"
        result = await self.shell(f"sh -c '{script}' {note}; {waits}")
        self.assertGreater(result.resources["ru_utime"] + result.resources["ru_stime"], 0.5)
        self.assertLess(result.resources["ru_utime"] + result.resources["ru_stime"], 5)


class UsageTests(_Trees):
    """CMD_ASK."""

    async def test_plausible(self) -> None:
        """Processor time, memory, its peak, processes and threads are those of the tree."""
        script = """
import os, sys, threading, time
big = bytearray(os.urandom(1)) * (50 << 20)
del big
held = bytearray(os.urandom(1)) * (20 << 20)
threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
while time.process_time() < 0.5: pass
print("up", flush=True)
sys.stdin.read()
"""
        self.begin(
            CommandSpec(
                cmd="sh",
                args=("-c", 'sleep 60 & "$0" -c "$1"; exit', sys.executable, script),
                stdin_open=True,
            )
        )
        await until(lambda: self.stdout)
        usage = self.usage()
        self.assertEqual((usage["processes"], usage["threads"]), (3, 4))
        self.assertGreater(usage["user_s"] + usage["system_s"], 0.45)
        self.assertLess(usage["user_s"] + usage["system_s"], 10)
        self.assertGreater(usage["memory_peak_kib"], 50 << 10)
        self.assertGreater(usage["memory_kib"], 20 << 10)
        self.assertLess(usage["memory_kib"], 50 << 10)
        self.signal("KILL")
        await self.host.end("id")
        await deferLater(reactor, 0.1)

    async def test_those_that_are_gone(self) -> None:
        """Time of children that have ended counts once, and never shrinks."""
        burn = "import time\nwhile time.process_time() < 0.4: pass"
        script = f"{sys.executable} -c '{burn}'; echo up; sleep 60"
        self.begin(CommandSpec(cmd="sh", args=("-c", script)))
        await until(lambda: self.stdout)
        for _ in range(3):
            usage = self.usage()
            self.assertGreater(usage["user_s"] + usage["system_s"], 0.35)
            self.assertLess(usage["user_s"] + usage["system_s"], 4)
        self.signal("KILL")
        await self.host.end("id")
        await deferLater(reactor, 0.1)

    async def test_written(self) -> None:
        """Bytes written to a disk are counted."""
        target = self.path()
        script = f"head -c 3000000 /dev/urandom > {target}; sync {target}; echo up; sleep 60"
        self.begin(CommandSpec(cmd="sh", args=("-c", script)))
        await until(lambda: self.stdout)
        self.assertGreaterEqual(self.usage()["written_bytes"], 3_000_000)
        self.signal("TERM")
        await self.host.end("id")


class MarkTests(_Trees):
    """What a command gets of the agent."""

    async def test_mark(self) -> None:
        """Each command has its id in its environment, also one that replaces it."""
        await self.begin(CommandSpec(cmd="/usr/bin/env", env={"A": "b"}, replace_env=True))
        self.assertEqual(sorted(self.stdout.split()), [b"A=b", f"{MARKER}=id".encode()])

    async def test_marks_of_others(self) -> None:
        """By what others have marked the agent with, they find also a command that replaces it."""
        self.env = {"VMCONTROLLER_LOCAL_VM": "uuid", "LANG": "C"}
        await self.runner.stop()
        self.runner = self.make()
        self.runner.resume({})
        await self.begin(CommandSpec(cmd="/usr/bin/env", replace_env=True))
        self.assertEqual(
            sorted(self.stdout.split()),
            [f"{MARKER}=id".encode(), b"VMCONTROLLER_LOCAL_VM=uuid"],
        )
