"""What is printed of a guest's words and of numbers."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.client.cli import statuses, text
from vmcontroller.client.cli.info_command import last_value
from vmcontroller.client.errors import BY_NAME, CopyFailed, Fault, TransferFailed, Unreachable


class TextTests(SynchronousTestCase):
    @given(st.text())
    def test_nothing_but_text(self, given_text):
        """Whatever a guest calls itself, a terminal gets printable letters."""
        self.assertTrue(text.shown(given_text).isprintable())

    def test_figures(self):
        """Programs get every digit of a large one, people a size."""
        for value, scale, unit, plain, pretty in (
            (41_666_560, 1, "B", "41666560", "39.7 MiB"),
            (4074, 100, "%", "40.74", "40.74 %"),
            (1_234_567, 1, "", "1234567", "1234567"),
        ):
            cell = last_value({"values": [0, value], "scale": scale, "unit": unit})
            self.assertEqual((cell.plain, cell.pretty), (plain, pretty))
        self.assertEqual(last_value({"values": [], "scale": 1, "unit": ""}).plain, "")

    def test_escapes(self):
        """What was there can still be seen."""
        for given_text, wanted in (
            ("plain ü 漢", "plain ü 漢"),
            ("\x1b[2J\x07", "\\x1b[2J\\x07"),
            ("a\tb\r\nc", "a\\tb\\r\\nc"),
            ("\u202egnp.exe", "\\u202egnp.exe"),
            ("\x9b31m", "\\x9b31m"),
            ("\U000e0041", "\\U000e0041"),
            ("\udcff", "\\udcff"),
        ):
            self.assertEqual(text.shown(given_text), wanted)

    @given(st.binary())
    def test_output_on_a_terminal(self, data):
        """A guest's output may begin new lines, and do nothing else."""
        shown = text.shown_lines(data)
        self.assertTrue(all(char.isprintable() or char in "\n\t" for char in shown))

    def test_lines(self):
        """Lines stay lines; a progress bar's CR is seen."""
        self.assertEqual(text.shown_lines(b"a\r\nb\rc\x1b[1m\xff"), "a\nb\\rc\\x1b[1m\\xff")

    def test_sizes(self):
        """Sizes have three digits or so."""
        for count, wanted in ((0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (2**60, "1024 PiB")):
            self.assertEqual(text.human_size(count), wanted)
        for word, wanted in (("5", 5), ("1.5K", 1536), ("2GiB", 2**31), ("3 mb", 3 * 2**20)):
            self.assertEqual(text.bytes_of(word), wanted)
        for word in ("", "x", "-1", "1e99", "5X", "nan"):
            self.assertRaises(ValueError, text.bytes_of, word)

    def test_times(self):
        """Durations have the units that fit them; a time that makes no sense breaks nothing."""
        for seconds, wanted in (
            (0.012, "12 ms"),
            (5, "5.0 s"),
            (65, "1 min 5 s"),
            (3700, "1 h 1 min"),
            (90000, "1 d 1 h"),
        ):
            self.assertEqual(text.human_duration(seconds), wanted)
        self.assertEqual(text.moment(0), text.Cell("", ""))
        self.assertEqual(text.moment(1e300).pretty, "?")
        self.assertRegex(text.moment(10**9).plain, r"^2001-09-\d\dT")


class StatusTests(SynchronousTestCase):
    def test_every_fault_has_one(self):
        """Each has a documented status; what is missing can be told from what failed."""
        documented = {status for status, _ in statuses.MEANINGS}
        for kind in BY_NAME.values():
            self.assertIn(statuses.status_of(kind(1, kind.NAME, "x")), documented)
        for name, status in (
            ("NO_SUCH_VM", 5),
            ("NO_SUCH_SNAPSHOT", 5),
            ("BAD_ARGUMENT", 2),
            ("ACCESS_DENIED", 4),
            ("GUEST_UNREACHABLE", 6),
            ("INTERNAL", 1),
        ):
            self.assertEqual(statuses.status_of(BY_NAME[name](1, name, "x")), status)
        self.assertEqual(statuses.status_of(Fault(1, "NEW", "x")), 1)
        self.assertEqual(statuses.status_of(Unreachable("x")), 3)
        self.assertEqual(statuses.status_of(CopyFailed("NO_SUCH_FILE", "x")), 5)
        self.assertEqual(statuses.status_of(CopyFailed("DISK_FULL", "x")), 1)
        missing = TransferFailed(42, "TRANSFER_FAILED", "NO_SUCH_FILE: x")
        self.assertEqual((statuses.status_of(missing), missing.reason), (5, "NO_SUCH_FILE"))
