"""Notes of temporary files: what an agent that was killed left is removed, and nothing else."""

from __future__ import annotations

import os
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.common.copying_wire import facts, open_files
from vmcontroller.common.copying.landing import NewFile
from vmcontroller.common.copying.source import place_at
from vmcontroller.guest.notes import KEPT_MOST, KEPT_S, Notes

ID = "0123456789abcdef0123456789abcdef"
TEMPORARY = f".f.vmcontroller-{ID}"


class NotesTests(SynchronousTestCase):
    """A folder of notes, and a folder that copies are made in."""

    def setUp(self) -> None:
        base = Path(self.mktemp()).resolve()
        self.folder, self.home = base / "state" / "copies", base / "home"
        self.home.mkdir(parents=True)
        self.notes = Notes(self.folder, wall_s=time.time)
        self.notes.open()
        self.before = open_files()

    def note(self, target: Path | str, name: str = ID) -> None:
        (self.folder / name).symlink_to(target)

    def left(self) -> list[str]:
        return sorted(path.name for path in self.home.iterdir())

    def start_again(self, later_s: float = KEPT_S + 60) -> None:
        Notes(self.folder, wall_s=lambda: time.time() + later_s).open()
        self.assertEqual(open_files(), self.before)

    def test_killed(self) -> None:
        """The file that a killed agent left, wherever it lies, stays for a day, and goes then."""
        (self.home / "sub").mkdir()
        place = place_at("sub/f", home=str(self.home))
        self.notes.add(place, ID)
        new = NewFile(place, ID, facts(3))
        self.assertEqual((self.folder / ID).readlink(), self.home / "sub" / TEMPORARY)
        new._close()
        place.close()
        (self.home / "sub" / "f").write_bytes(b"as it was")
        self.start_again(later_s=3600)
        self.assertTrue((self.home / "sub" / TEMPORARY).exists())
        self.start_again()
        self.assertEqual([path.name for path in (self.home / "sub").iterdir()], ["f"])
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_ended(self) -> None:
        """A note that is dropped leaves the file alone, whatever lies there now."""
        place = place_at("f", home=str(self.home))
        self.notes.add(place, ID)
        place.close()
        self.notes.drop(ID)
        self.notes.drop(ID)
        (self.home / TEMPORARY).write_bytes(b"keep")
        self.start_again()
        self.assertEqual(self.left(), [TEMPORARY])

    def test_nothing_there(self) -> None:
        """A note whose file, or whose directory, is gone is only forgotten."""
        self.note(self.home / TEMPORARY)
        self.note(self.home / "none" / ".f.vmcontroller-a", "a")
        self.start_again()
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_other_names(self) -> None:
        """Only this transfer's own temporary file is ever removed."""
        names = ["precious", f".f.vmcontroller-{ID}x", f"f.vmcontroller-{ID}", ".f.vmcontroller-a"]
        for name in names:
            (self.home / name).write_bytes(b"keep")
            self.note(self.home / name)
            self.start_again()
        relative = os.path.relpath(self.home / TEMPORARY)
        (self.home / TEMPORARY).write_bytes(b"keep")
        self.note(relative)
        self.start_again()
        self.assertEqual(self.left(), sorted([*names, TEMPORARY]))

    def test_links(self) -> None:
        """Neither a link under the temporary name nor one on the way to it is followed."""
        (self.home / "real").mkdir()
        (self.home / "real" / TEMPORARY).write_bytes(b"keep")
        (self.home / "way").symlink_to("real")
        self.note(self.home / "way" / TEMPORARY)
        self.start_again()
        (self.home / TEMPORARY).symlink_to("real")
        self.note(self.home / TEMPORARY)
        self.start_again()
        self.assertTrue((self.home / "real" / TEMPORARY).exists())
        self.assertTrue((self.home / TEMPORARY).is_symlink())

    def test_directory(self) -> None:
        """A directory that was being copied can't be gone on with: it goes at once, with all."""
        (self.home / TEMPORARY / "sub").mkdir(parents=True)
        (self.home / TEMPORARY / "sub" / "f").write_bytes(b"half")
        self.note(self.home / TEMPORARY)
        self.start_again(later_s=0)
        self.assertEqual(self.left(), [])
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_too_many(self) -> None:
        """No more than so many are kept, the latest; one of a copy under way is never removed."""
        for number in range(KEPT_MOST + 3):
            name = f".f.vmcontroller-{number}"
            (self.home / name).write_bytes(b"half")
            self.note(self.home / name, str(number))
            moment = time.time() - 1000 + number
            os.utime(self.folder / str(number), (moment, moment), follow_symlinks=False)
        place = place_at("new", home=str(self.home))
        self.notes.add(place, "1")
        place.close()
        self.notes.expire()
        self.assertEqual(
            {path.name for path in self.folder.iterdir()},
            {"1", *map(str, range(3, KEPT_MOST + 3))},
        )
        self.assertEqual(len(self.left()), KEPT_MOST + 1)

    def test_what_is_no_note(self) -> None:
        """What else lies among the notes is left alone and does not keep the agent down."""
        (self.folder / "file").write_text(str(self.home / ".f.vmcontroller-file"))
        (self.folder / "folder").mkdir()
        (self.home / ".f.vmcontroller-file").write_bytes(b"keep")
        self.start_again()
        self.assertEqual(self.left(), [".f.vmcontroller-file"])
        self.assertEqual(sorted(p.name for p in self.folder.iterdir()), ["file", "folder"])

    def test_folder_is_a_link(self) -> None:
        """A link where the folder of notes should be is replaced, not used."""
        elsewhere = self.home / "elsewhere"
        elsewhere.mkdir()
        (elsewhere / ID).symlink_to(self.home / TEMPORARY)
        (self.home / TEMPORARY).write_bytes(b"keep")
        self.folder.rmdir()
        self.folder.symlink_to(elsewhere)
        self.start_again()
        self.assertFalse(self.folder.is_symlink())
        self.assertIn(TEMPORARY, self.left())

    def test_no_note_can_be_made(self) -> None:
        """A full or missing state directory costs the note, not the copy."""
        self.folder.rmdir()
        place = place_at("f", home=str(self.home))
        self.notes.add(place, ID)
        self.notes.drop(ID)
        place.close()
