"""Host and guest joined in memory: every word is said and heard as on the wire, in order."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections import deque
from pathlib import Path

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.task import Clock

from vmcontroller.common.copying.course import Course, Link
from vmcontroller.common.errors import NotConnected
from vmcontroller.common.model import GuestId
from vmcontroller.common.words import hear
from vmcontroller.common.words.files import FileFacts
from vmcontroller.common.words.presence import PROTOCOL_VERSION
from vmcontroller.guest.files import GuestFiles
from vmcontroller.guest.notes import Notes
from vmcontroller.host.transfers.ledger import Ledger
from vmcontroller.host.transfers.request import CopyRequest, Direction
from vmcontroller.host.transfers.roots import AllowedRoots
from vmcontroller.host.transfers.transfers import Transfers
from vmcontroller.host.transfers.world import World

GUEST = GuestId("52:54:00:00:00:01")
OTHER = GuestId("52:54:00:00:00:02")


def at_once(work, /, *args):
    """An InThread without threads."""
    return maybeDeferred(work, *args)


class HeldThread:
    """An InThread whose steps are done when the test says so."""

    def __init__(self):
        self.held = deque()

    def __call__(self, work, /, *args):
        done = Deferred()
        self.held.append((done, work, args))
        return done

    def run_next(self):
        done, work, args = self.held.popleft()
        maybeDeferred(work, *args).chainDeferred(done)


class Peer:
    """One end alone: what it says is kept, and the connection can be broken or held up."""

    def __init__(self, in_thread=at_once):
        self.clock = Clock()
        self.said = []
        self.connected = True
        self.held_up = None
        self.link = Link(
            clock=self.clock, in_thread=in_thread, say=self.say, writable=self.writable
        )
        self.course = Course(
            transfer_id="t1", link=self.link, peer="the peer", idle_deadline_s=60, begun=True
        )

    def say(self, word):
        if not self.connected:
            raise NotConnected("no connection to the broker")
        self.said.append(hear(word.how_to_say()))

    def writable(self):
        return self.held_up or succeed(None)

    def names(self):
        return [word.NAME for word in self.said]


class Wire:
    """Transfers and GuestFiles, and the words between them as a queue."""

    def __init__(
        self,
        exchange: str,
        home: str,
        *,
        in_thread=at_once,
        guest_in_thread=at_once,
        protocol=PROTOCOL_VERSION,
    ):
        """`protocol` is what both speak."""
        self.exchange = Path(exchange).absolute()
        self.home = Path(home).absolute()
        self.exchange.mkdir()
        self.home.mkdir()
        self.notes = self.home.with_name(self.home.name + ".notes")
        self.ledger = self.exchange.with_name(self.exchange.name + ".ledger")
        self.protocol = protocol
        self.clock = Clock()
        self.queue = deque()
        self.spoken = []
        self.cut = False
        self.asked = 0
        self.results = []
        self.in_thread, self.guest_in_thread = in_thread, guest_in_thread
        self.new_host()
        self.new_guest()

    def new_host(self):
        """Begin with a daemon that knows what is on the disk."""
        self.transfers = Transfers(
            World(
                clock=self.clock,
                wall_s=lambda: 1_000_000_000 + self.clock.seconds(),
                in_thread=self.in_thread,
                say=self._to_guest,
                writable=lambda _guest: succeed(None),
                bulk=None,
                ask_for_hello=self._ask,
                roots=AllowedRoots([str(self.exchange)]).of,
                ledger=Ledger(self.ledger),
                resume_grace_s=300.0,
            )
        )
        self.transfers.open()

    def new_guest(self):
        """Begin with an agent that knows what is on the disk."""
        notes = Notes(self.notes, wall_s=time.time)
        notes.open()
        self.guest = GuestFiles(
            reactor=self.clock,
            say=self._to_host,
            writable=lambda: succeed(None),
            in_thread=self.guest_in_thread,
            home=str(self.home),
            notes=notes,
        )
        self.guest.host_speaks(self.protocol)

    def copy(self, direction, local, remote, **options):
        request = CopyRequest(
            direction=direction,
            vm_name="vm",
            vm_uuid="uuid",
            guest=GUEST,
            protocol=self.protocol,
            local_path=local,
            remote_path=remote,
            **options,
        )
        self.results.append(Deferred.fromCoroutine(self.transfers.copy(request)))
        return self.results[-1]

    def put(self, local, remote="", **options):
        return self.copy(Direction.TO_VM, local, remote, **options)

    def get(self, remote, local="", **options):
        return self.copy(Direction.FROM_VM, local, remote, **options)

    def break_off(self):
        """Cut the connection: what was under way is lost, and both ends hear of it."""
        self.cut = True
        self.queue.clear()
        self.guest.connection_lost("broken")
        self.transfers.guest_lost(GUEST, "broken")

    def connect_anew(self):
        """Let the guest say HELLO on a new connection."""
        self.cut = False
        self.guest.host_speaks(self.protocol)
        self.transfers.guest_there(GUEST, anew=True)

    def give_up(self):
        """Whatever becomes of the copies so far, nobody waits for it."""
        for result in self.results:
            result.addErrback(lambda _: None)
        self.results.clear()

    def kill_host(self):
        """Forget all that the daemon has in memory; files that it holds open are not closed."""
        self.give_up()
        self.cut = True
        self.queue.clear()
        self.guest.connection_lost("the host was killed")
        self.new_host()

    def kill_guest(self):
        """Forget all that the agent has in memory."""
        self.cut = True
        self.queue.clear()
        self.transfers.guest_lost(GUEST, "the agent was killed")
        self.new_guest()

    def pump(self, words=10**9):
        """Deliver up to so many words."""
        while self.queue and words > 0:
            words -= 1
            to_host, utterance = self.queue.popleft()
            word = hear(utterance)
            method = f"heard_{word.NAME.lower()}"
            if to_host:
                getattr(self.transfers, method)(word, GUEST)
            else:
                getattr(self.guest, method)(word)

    def names(self):
        return [word.NAME for word in self.spoken]

    def leftovers(self):
        """Temporary files on either side."""
        return [p for d in (self.exchange, self.home) for p in d.rglob("*.vmcontroller-*")]

    def kept(self):
        """What either side knows of copies that are not over: notes on the disk."""
        return [*self.ledger.iterdir(), *self.notes.iterdir()]

    def _ask(self, guest):
        assert guest == GUEST
        self.asked += 1

    def _to_guest(self, guest, word):
        assert guest == GUEST
        self._send(False, word)

    def _to_host(self, word):
        self._send(True, word)

    def _send(self, to_host, word):
        if self.cut:
            raise NotConnected("no connection to the broker")
        self.spoken.append(word)
        self.queue.append((to_host, word.how_to_say()))


def facts(size_bytes, mode=0o644, mtime_ns=1_000_000_000):
    return FileFacts(size_bytes=size_bytes, mode=mode, mtime_ns=mtime_ns)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def open_files(directory="."):
    """Return what this process holds open below a directory: a leak shows as one more.

    Databases are left out: those of earlier tests are closed when they are collected.
    """
    links = []
    for fd in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the one that lists them
            links.append(str(fd.readlink()))
    below = str(Path(directory).absolute())
    return sorted(link for link in links if link.startswith(below) and ".db" not in link)
