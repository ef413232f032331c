"""Files through the API: whole, verified, gone on with, and what a guest can do to that."""

import os
import random
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.client.guest_files import AWAY, MIB, FileGuest
from vmcontroller.client import downloading, guest_shell, persistence, uploading
from vmcontroller.client.errors import ConnectionLost, CopyFailed, GuestUnreachable

CONTENT = random.Random(5).randbytes(5 * MIB + 77)


class CopyCase(SynchronousTestCase):
    def setUp(self):
        self.patch(persistence, "PAUSE_S", 0.0)
        self.patch(uploading, "SEGMENT_BYTES", 2 * MIB)
        self.patch(downloading, "SEGMENT_MIB", 2)
        self.dir = Path(self.mktemp())
        self.dir.mkdir()
        self.local = self.dir / "local"
        self.told = []

    def note(self, done, size):
        self.told.append((done, size))

    def refused(self, reason, function, *args):
        error = self.assertRaises(CopyFailed, function, *args)
        self.assertEqual(error.reason, reason, str(error))


class UploadTests(CopyCase):
    def setUp(self):
        super().setUp()
        self.local.write_bytes(CONTENT)
        self.guest = FileGuest()

    def send(self):
        self.guest.copy_to("vm", str(self.local), "/copy", on_progress=self.note)
        self.assertTrue(self.guest.files == {"/copy": CONTENT})

    def test_whole(self):
        """It goes in pieces, and progress is told from nothing to all of it."""
        self.send()
        self.assertEqual((self.told[0], self.told[-1]), ((0, len(CONTENT)), (len(CONTENT),) * 2))
        appended = [each for each in self.guest.commands.values() if each["stdin"]]
        self.assertEqual(len(appended), 3)

    def test_guest_goes_away(self):
        """A command that is lost, an agent that is away: it goes on where the guest has got to."""
        self.guest.breaks_at = MIB + 5
        self.guest.away = [None, None, AWAY, None, ConnectionLost("broke"), AWAY]
        self.send()
        self.assertIn((MIB + 5, len(CONTENT)), self.told)

    def test_guest_stays_away(self):
        """It is not tried for ever; one that was never there not even twice."""
        self.guest.away = [AWAY]
        self.assertRaises(GuestUnreachable, self.send)
        self.assertEqual(self.guest.away, [])
        self.patch(persistence, "PATIENCE_S", 0.0)
        self.guest.away = [None] + [AWAY] * 100
        self.assertRaises(GuestUnreachable, self.send)

    def part(self, content):
        """Let something be there from an earlier copy."""
        self.send()
        [key] = {call[1] for call in self.keys()}
        self.guest.files = {key: content}
        self.guest.commands.clear()
        self.told.clear()

    def keys(self):
        for each in self.guest.commands.values():
            if each["script"] == guest_shell.APPEND:
                yield None, each["args"][0]

    def test_resumed(self):
        """What is there already is not sent again."""
        self.part(CONTENT[: 3 * MIB])
        self.send()
        self.assertEqual(self.told[0], (3 * MIB, len(CONTENT)))
        sent = sum(len(each["stdin"]) for each in self.guest.commands.values())
        self.assertEqual(sent, len(CONTENT) - 3 * MIB)

    def test_resumed_wrongly(self):
        """What is there is something else, or longer: it is sent once more, from the beginning."""
        for wrong in (b"x" * MIB, CONTENT + b"x"):
            self.part(wrong)
            self.send()

    def test_digest(self):
        """A guest that says that it got something else fails the copy."""
        self.guest.odd[guest_shell.FINISH] = (b"", b"DIGEST_MISMATCH: '/copy'", 99)
        self.refused("DIGEST_MISMATCH", self.send)

    def test_guest_without_the_tools(self):
        """What it says is the reason."""
        self.guest.odd[guest_shell.PLACE] = (b"", b"sh: cat: not found\n", 127)
        error = self.assertRaises(CopyFailed, self.send)
        self.assertRegex(str(error), "^IO_ERROR: in the guest: exit code 127: sh: cat: not found$")

    def test_changed_meanwhile(self):
        """A file that is written to while it is read is no copy."""

        def grow(_done, _size):
            with self.local.open("ab") as file:
                file.write(b"more")

        self.refused(
            "CHANGED", lambda: self.guest.copy_to("vm", str(self.local), "/c", on_progress=grow)
        )

        def shrink(_done, _size):
            os.truncate(self.local, 10)

        self.refused(
            "CHANGED", lambda: self.guest.copy_to("vm", str(self.local), "/c", on_progress=shrink)
        )

    def test_leftovers(self):
        """What an earlier copy left running is ended first: it might still write."""
        self.part(b"")
        [name] = self.guest.files
        key = name.strip("/").removesuffix(".part")
        left = {"cmd-id": "left", "args": ["-c", "x", "vmcontroller-cp", f"/.{key}.part", "0"]}
        other = {"cmd-id": "other", "args": ["-c", "x", "y", f"/.{key}.part"]}
        self.guest.answers["listCmds"] = [left, other]
        wait = self.guest.answers["waitCmd"]
        self.guest.answers["waitCmd"] = lambda cmd_id, s: (
            {} if cmd_id == "left" else wait(cmd_id, s)
        )
        self.send()
        killed = {call[1] for call in self.guest.calls if call[0] == "killCmd"}
        self.assertEqual(killed, {"left"})

    def test_what_is_no_file(self):
        """It is said before anything is sent."""
        self.refused("NO_SUCH_FILE", self.guest.copy_to, "vm", str(self.dir / "nope"), "/c")
        self.refused("IS_A_DIRECTORY", self.guest.copy_to, "vm", str(self.dir), "/c")
        self.refused("NOT_A_FILE", self.guest.copy_to, "vm", "/dev/null", "/c")
        self.assertEqual(self.guest.calls, [])


class DownloadTests(CopyCase):
    def setUp(self):
        super().setUp()
        self.guest = FileGuest(there=CONTENT)

    def fetch(self, guest=None):
        guest = guest or self.guest
        guest.copy_from("vm", "/there", str(self.local), on_progress=self.note)
        self.assertTrue(self.local.read_bytes() == CONTENT)
        self.assertEqual(os.listdir(self.dir), ["local"])

    def test_whole(self):
        """It comes in pieces, with mode and time."""
        self.fetch()
        self.assertEqual((self.told[0], self.told[-1]), ((0, len(CONTENT)), (len(CONTENT),) * 2))
        info = self.local.stat()
        self.assertEqual((info.st_mode & 0o777, info.st_mtime), (0o640, 10**9))

    def test_guest_goes_away(self):
        """It goes on where it was."""
        self.guest.away = [None, None, AWAY, None, ConnectionLost("broke"), None, AWAY]
        self.fetch()

    def test_little_room(self):
        """A guest that keeps less than asked for is asked more often; one that keeps none, not."""
        self.guest.cuts_at = MIB + 1000
        self.fetch()
        self.guest.cuts_at = 0
        self.refused("DISK_FULL", self.fetch)

    def interrupt_at(self, mib):
        """Break a copy off, as a Ctrl-C does."""

        def stop(done, _size):
            if done >= mib * MIB:
                raise KeyboardInterrupt

        self.assertRaises(
            KeyboardInterrupt,
            self.guest.copy_from,
            "vm",
            "/there",
            str(self.local),
            on_progress=stop,
        )
        [part] = self.dir.iterdir()
        return part

    def test_resumed(self):
        """What has come is not fetched again, also where it ends within a MiB."""
        part = self.interrupt_at(3)
        with part.open("r+b") as file:
            file.truncate(3 * MIB - 100)
        self.fetch()
        self.assertEqual(self.told[0], (3 * MIB - 100, len(CONTENT)))

    def test_resumed_wrongly(self):
        """What is there is something else, or longer: it is fetched once more."""
        for wrong in (b"x" * MIB, CONTENT + b"more"):
            self.interrupt_at(1).write_bytes(wrong)
            self.fetch()
            self.local.unlink()

    def test_wrong_in_the_end(self):
        """A file that is not what the guest says has no copy, and nothing is left."""
        self.guest.odd[guest_shell.SUM] = (b"0" * 64, b"", 0)
        self.refused("CHANGED", self.fetch)
        self.assertEqual(os.listdir(self.dir), [])

    def test_odd_guests(self):
        """What makes no sense is said so, and nothing is done with it."""
        for said in (
            b"",
            b"f\nx y z",
            b"f\n-5 0 644",
            b"f\n1 0 999",
            b"f\n%d 0 644" % 2**70,
            b"\xff",
        ):
            self.guest.odd[guest_shell.LOOK] = (said, b"", 0)
            self.refused("PROTOCOL", self.fetch)
        self.guest.odd[guest_shell.LOOK] = (b"d\n", b"", 0)
        self.refused("IS_A_DIRECTORY", self.fetch)
        self.guest.odd[guest_shell.LOOK] = (b"f\n%d 0 644" % (len(CONTENT) + 1), b"", 0)
        self.refused("CHANGED", self.fetch)

    def test_names(self):
        """A directory gets the file under its name there; a name that is none is refused."""
        self.guest.copy_from("vm", "/there", str(self.dir))
        self.assertTrue((self.dir / "there").read_bytes() == CONTENT)
        for remote in ("/", "..", "x/.."):
            self.refused("NOT_A_FILE", downloading.name_of, remote)
        self.refused("NO_SUCH_FILE", downloading.place_of, str(self.dir / "no" / "where"), "x")
