"""What the hypervisor tells through the firmware: hostile or broken tables included."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.guest.smbios import oem_strings, read_oem_strings, read_uuid


def structure(*strings: bytes, count: int | None = None) -> bytes:
    """Return a type 11 structure as the kernel shows it."""
    head = bytes([11, 5, 0x00, 0x0E, len(strings) if count is None else count])
    return head + b"".join(text + b"\0" for text in strings) + b"\0"


class OemStringsTests(SynchronousTestCase):
    """Parsing one structure."""

    def test_strings(self) -> None:
        """All strings come, in order, as QEMU writes them."""
        raw = structure(b"vmcontroller.broker=10.0.0.1:61613", b"x=\xc3\xa4")
        self.assertEqual(oem_strings(raw), ("vmcontroller.broker=10.0.0.1:61613", "x=ä"))

    def test_other_type_or_cut_short(self) -> None:
        """Another structure, or one that says it is longer than it is, has none."""
        for raw in (
            b"",
            b"\x0b",
            b"\x01\x05\0\0\x01a\0\0",
            b"\x0b\xff\0\0\x01a\0\0",
            b"\x0b\0\0\0\x01",
        ):
            self.assertEqual(oem_strings(raw), ())

    @given(st.binary(max_size=300))
    def test_any_bytes(self, raw: bytes) -> None:
        """No bytes raise, and there are never more strings than the structure counts."""
        for data in (raw, b"\x0b" + raw, b"\x0b\x05" + raw):
            found = oem_strings(data)
            self.assertLessEqual(len(found), data[4] if len(data) > 4 else 0)

    @given(st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1)))
    def test_round_trip(self, texts: list[str]) -> None:
        """What is put in comes out."""
        texts = texts[:255]
        raw = structure(*(text.encode() for text in texts))
        self.assertEqual(oem_strings(raw), tuple(texts))


class ReadingTests(SynchronousTestCase):
    """The files of sysfs."""

    def test_strings_of_all_structures(self) -> None:
        """Every type 11 entry is read; other types are not."""
        entries = Path(self.mktemp())
        for name, text in (("11-0", b"one"), ("11-1", b"two"), ("1-0", b"three")):
            (entries / name).mkdir(parents=True)
            (entries / name / "raw").write_bytes(structure(text))
        self.assertEqual(read_oem_strings(entries), ("one", "two"))

    def test_no_firmware_tables(self) -> None:
        """A machine without them tells nothing."""
        self.assertEqual(read_oem_strings(Path(self.mktemp())), ())
        self.assertEqual(read_uuid(Path(self.mktemp())), "")

    def test_uuid(self) -> None:
        """The UUID comes in lower case; what is none is not passed on."""
        path = Path(self.mktemp())
        path.write_text("4C4C4544-0042-3510-8051-B4C04F4D3232\n")
        self.assertEqual(read_uuid(path), "4c4c4544-0042-3510-8051-b4c04f4d3232")
        for text in ("Not Settable\n", "", "\xff"):
            path.write_text(text, encoding="latin-1")
            self.assertEqual(read_uuid(path), "")
