"""Output and results on their way: order, back-pressure, and beginning again."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.guest.fakes import FakeLink
from vmcontroller.common.model import CommandResult
from vmcontroller.common.words.commands import STREAMS, CmdOutput, CmdResult
from vmcontroller.guest.commands.courier import CHUNK_BYTES, Courier, Parcel
from vmcontroller.guest.commands.spool import Room, StreamSpool


def result(cmd_id: str) -> CommandResult:
    """Return how a command ended; its counts are made when it is said."""
    return CommandResult(
        cmd_id=cmd_id,
        finished=True,
        exit_code_or_signal=0,
        resources={},
        stdout_bytes=0,
        stderr_bytes=0,
    )


class CourierTests(SynchronousTestCase):
    """What is said, and when."""

    def setUp(self) -> None:
        self.root = Path(self.mktemp())
        self.root.mkdir()
        self.link = FakeLink()
        self.courier = Courier(say=self.link.say, writable=self.link.writable)

    def parcel(self, cmd_id: str = "a", limit_bytes: int = 10**7) -> Parcel:
        spools = {
            name: StreamSpool(f"{self.root}/{cmd_id}", name, limit_bytes, Room(2**40))
            for name in STREAMS
        }
        return Parcel(cmd_id=cmd_id, spools=spools)

    def said(self) -> list[tuple[object, ...]]:
        """Return the words said since, in short."""
        short: list[tuple[object, ...]] = []
        for word in self.link.words():
            match word:
                case CmdOutput():
                    short.append((word.cmd_id, word.stream, word.offset, len(word.data)))
                case CmdResult():
                    counts = (word.result.stdout_bytes, word.result.stderr_bytes)
                    short.append((word.result.cmd_id, "result", *counts))
        return short

    def test_at_once(self) -> None:
        """Output and result go out in the very turn in which they are offered."""
        self.courier.open()
        parcel = self.parcel()
        parcel.spools["stdout"].append(b"hello")
        parcel.result = result("a")
        self.courier.offer(parcel)
        self.assertEqual(self.said(), [("a", "stdout", 0, 5), ("a", "result", 5, 0)])

    def test_chunks(self) -> None:
        """No frame has more than 64 KiB, and together they are the stream."""
        self.courier.open()
        parcel = self.parcel()
        parcel.spools["stderr"].append(b"x" * (2 * CHUNK_BYTES + 1))
        self.courier.offer(parcel)
        self.assertEqual(
            self.said(),
            [
                ("a", "stderr", 0, CHUNK_BYTES),
                ("a", "stderr", CHUNK_BYTES, CHUNK_BYTES),
                ("a", "stderr", 2 * CHUNK_BYTES, 1),
            ],
        )

    def test_back_pressure(self) -> None:
        """One frame is said for each that the connection takes, and the rest waits on the disk."""
        self.link.room = 1
        self.courier.open()
        parcel = self.parcel()
        parcel.spools["stdout"].append(b"x" * (3 * CHUNK_BYTES))
        self.courier.offer(parcel)
        self.courier.offer(parcel)
        self.assertEqual(len(self.said()), 1)
        self.link.make_room(1)
        self.assertEqual(self.said(), [("a", "stdout", CHUNK_BYTES, CHUNK_BYTES)])

    def test_turns(self) -> None:
        """A command that prints without end holds up neither another nor its own stderr."""
        self.link.room = 0
        self.courier.open()
        flood, small = self.parcel("flood"), self.parcel("small")
        flood.spools["stdout"].append(b"x" * (9 * CHUNK_BYTES))
        flood.spools["stderr"].append(b"error")
        small.spools["stdout"].append(b"y")
        self.courier.offer(flood)
        self.courier.offer(small)
        self.link.make_room(3)
        self.assertEqual(
            self.said(),
            [
                ("flood", "stdout", 0, CHUNK_BYTES),
                ("small", "stdout", 0, 1),
                ("flood", "stderr", 0, 5),
            ],
        )

    def test_shut(self) -> None:
        """Nothing is said before the host has told what it has, nor after a loss."""
        parcel = self.parcel()
        parcel.spools["stdout"].append(b"hello")
        self.courier.offer(parcel)
        self.assertEqual(self.said(), [])
        self.courier.open()
        self.assertEqual(self.said(), [("a", "stdout", 0, 5)])
        self.courier.shut()
        parcel.result = result("a")
        self.courier.offer(parcel)
        self.assertEqual(self.said(), [])

    def test_lost_while_waiting(self) -> None:
        """A loss in the middle stops it, and on the next connection it goes on as told."""
        self.link.room = 1
        self.courier.open()
        parcel = self.parcel()
        parcel.spools["stdout"].append(b"x" * (2 * CHUNK_BYTES))
        parcel.result = result("a")
        self.courier.offer(parcel)
        self.said()
        self.link.lose()
        self.courier.shut()
        self.link.connected, self.link.room = True, None
        parcel.again((10, 0))
        self.courier.offer(parcel)
        self.courier.open()
        self.assertEqual(
            self.said(),
            [
                ("a", "stdout", 10, CHUNK_BYTES),
                ("a", "stdout", 10 + CHUNK_BYTES, CHUNK_BYTES - 10),
                ("a", "result", 2 * CHUNK_BYTES, 0),
            ],
        )

    def test_opened_again_before_the_loss_was_noticed(self) -> None:
        """Who still waits on the old connection neither speaks on the new one nor stops it."""
        self.link.room = 0
        self.courier.open()
        parcel = self.parcel()
        parcel.spools["stdout"].append(b"hello")
        self.courier.offer(parcel)
        self.courier.shut()
        self.link.room = None
        self.courier.open()
        self.assertEqual(self.said(), [("a", "stdout", 0, 5)])
        self.link.lose()
        self.link.connected = True
        parcel.result = result("a")
        self.courier.offer(parcel)
        self.assertEqual(self.said(), [("a", "result", 5, 0)])

    def test_not_wanted(self) -> None:
        """A host that doesn't wait for the output gets the result alone."""
        self.courier.open()
        parcel = self.parcel()
        parcel.spools["stdout"].append(b"hello")
        parcel.result = result("a")
        parcel.again(None)
        self.courier.offer(parcel)
        self.assertEqual(self.said(), [("a", "result", 5, 0)])

    def test_disk_lost_output(self) -> None:
        """The result counts what could be said, so that the host does not wait for ever."""
        self.courier.open()
        parcel = self.parcel()
        parcel.spools["stdout"].append(b"hello")
        (self.root / "a" / "stdout").unlink()
        parcel.result = result("a")
        self.courier.offer(parcel)
        self.assertEqual(self.said(), [("a", "result", 0, 0)])

    def test_forget(self) -> None:
        """What the host has stored is not mentioned again."""
        parcel = self.parcel()
        parcel.result = result("a")
        self.courier.offer(parcel)
        self.courier.forget("a")
        self.courier.open()
        self.assertEqual(self.said(), [])

    @settings(deadline=None)
    @given(
        st.lists(
            st.one_of(
                st.tuples(st.sampled_from(STREAMS), st.binary(min_size=1, max_size=40)),
                st.tuples(st.just("lost"), st.integers(0, 40)),
                st.tuples(st.just("killed"), st.integers(0, 40)),
            ),
            max_size=30,
        ),
        st.integers(1, 60),
    )
    def test_any_losses(self, steps: list[tuple[str, bytes | int]], limit_bytes: int) -> None:
        """Whatever is lost on the way, and however often the agent is killed: the host, which
        takes only what follows on what it has, ends up with the bytes up to the limit, and the
        result counts just those.
        """
        folder = self.mktemp()
        room = Room(2**40)
        Path(folder).mkdir()
        printed, stored = dict.fromkeys(STREAMS, b""), dict.fromkeys(STREAMS, b"")
        spools = {name: StreamSpool(folder, name, limit_bytes, room) for name in STREAMS}
        parcel = Parcel(cmd_id="a", spools=spools)
        for what, value in steps:
            if isinstance(value, bytes):
                printed[what] += value
                parcel.spools[what].append(value)
                self.take(parcel, stored)
                continue
            stored = {name: data[: max(0, len(data) - value)] for name, data in stored.items()}
            if what == "killed":
                counts = [min(limit_bytes, len(printed[name])) for name in STREAMS]
                limits = [limit_bytes - count for count in counts]
                spools = {name: StreamSpool(folder, name, 0, room) for name in STREAMS}
                for name, count, limit in zip(STREAMS, counts, limits, strict=True):
                    spools[name].take_up(count)
                    spools[name]._limit_bytes += limit  # so that it can go on as if it ran still
                parcel = Parcel(cmd_id="a", spools=spools)
            parcel.again((len(stored["stdout"]), len(stored["stderr"])))
        parcel.result = result("a")
        said = self.take(parcel, stored)
        self.assertEqual(stored, {name: data[:limit_bytes] for name, data in printed.items()})
        assert said is not None
        self.assertEqual(
            (said.stdout_bytes, said.stderr_bytes),
            (len(stored["stdout"]), len(stored["stderr"])),
        )

    def take(self, parcel: Parcel, stored: dict[str, bytes]) -> CommandResult | None:
        """Store what a parcel says, as the host does; return the result, if it came to that."""
        while word := parcel.next_word():
            match word:
                case CmdOutput():
                    self.assertEqual(word.offset, len(stored[word.stream]))
                    stored[word.stream] += word.data
                case CmdResult():
                    return word.result
        return None

    def test_fault_of_a_word(self) -> None:
        """An unexpected error is logged, and the next offer is carried all the same."""

        def fault(_: object) -> None:
            raise ZeroDivisionError

        courier = Courier(say=fault, writable=self.link.writable)
        courier.open()
        parcel = self.parcel()
        parcel.spools["stdout"].append(b"hello")
        courier.offer(parcel)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        parcel.result = result("a")
        courier.offer(parcel)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
