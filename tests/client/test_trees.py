"""A directory as a tar and back: what a guest sends stays below its place, whatever it is."""

import io
import os
import tarfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.client.errors import CopyFailed
from vmcontroller.client.trees import pack, unpack


def member(name, kind=tarfile.REGTYPE, content=b"", **more):
    """Return a member of a tar and its content."""
    info = tarfile.TarInfo(name)
    info.type = kind
    info.size = len(content)
    for key, value in {"mode": 0o755, **more}.items():
        setattr(info, key, value)
    return info, content


TOP = member("tree", tarfile.DIRTYPE)


class TreeTests(SynchronousTestCase):
    def setUp(self):
        self.where = Path(self.mktemp()).resolve()
        self.where.mkdir()
        self.target = self.where / "here"

    def sent(self, *members):
        """Return a tar of these."""
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as tar:
            for info, content in members:
                tar.addfile(info, io.BytesIO(content))
        file.seek(0)
        return file

    def refused(self, reason, *members):
        error = self.assertRaises(CopyFailed, unpack, self.sent(*members), "tree", str(self.target))
        self.assertEqual(error.reason, reason, str(error))
        self.assertEqual(os.listdir(self.where), [])

    def make(self):
        source = self.where / "source"
        (source / "a" / "b").mkdir(parents=True)
        (source / "a" / "b" / "file").write_bytes(b"content")
        (source / "a" / "b" / "file").chmod(0o640)
        os.utime(source / "a" / "b" / "file", (10**9, 10**9))
        (source / "a" / "link").symlink_to("b/file")
        (source / "a" / "up").symlink_to("../empty")
        os.link(source / "a" / "b" / "file", source / "second name")
        (source / "empty").mkdir(mode=0o500)
        (source / os.fsdecode(b"odd \xff\n")).touch()
        return source

    def test_there_and_back(self):
        """Contents, modes, times, links and odd names are kept."""
        source = self.make()
        file = io.BytesIO()
        pack(str(source), "tree", file)
        file.seek(0)
        unpack(file, "tree", str(self.target))
        names = sorted(str(path.relative_to(source)) for path in source.rglob("*"))
        self.assertEqual(
            sorted(str(path.relative_to(self.target)) for path in self.target.rglob("*")), names
        )
        for name in names:
            before, after = (source / name).lstat(), (self.target / name).lstat()
            self.assertEqual(before.st_mode, after.st_mode, name)
        there = self.target / "a" / "b" / "file"
        self.assertEqual((there.read_bytes(), there.stat().st_mtime), (b"content", 10**9))
        self.assertEqual((self.target / "second name").read_bytes(), b"content")
        self.assertEqual(os.readlink(self.target / "a" / "up"), "../empty")

    def test_the_same_each_time(self):
        """The same tree is the same tar: a copy that broke off finds what is there."""
        source, tars = self.make(), []
        for _ in range(2):
            file = io.BytesIO()
            pack(str(source), "tree", file)
            tars.append(file.getvalue())
        self.assertEqual(*tars)

    def test_what_is_not_packed(self):
        """A device or FIFO is said to be one, and not read."""
        source = self.make()
        os.mkfifo(source / "fifo")
        error = self.assertRaises(CopyFailed, pack, str(source), "tree", io.BytesIO())
        self.assertEqual(error.reason, "NOT_A_FILE")
        error = self.assertRaises(CopyFailed, pack, str(source / "nope"), "tree", io.BytesIO())
        self.assertEqual(error.reason, "NO_SUCH_FILE")

    def test_names_that_lead_out(self):
        """Nothing is written but below the directory, under its name."""
        for name in ("../evil", "/evil", "tree/../../evil", "evil", "tree/../evil"):
            reason = "PROTOCOL"
            self.refused(reason, TOP, member(name, content=b"x"))

    def test_links_that_lead_out(self):
        """A symbolic link that may lead out is refused before there is anything."""
        for target in ("/etc", "..", "../..", "a/../../..", "../../evil", "sub/.."):
            self.refused("ESCAPES_TREE", TOP, member("tree/l", tarfile.SYMTYPE, linkname=target))

    def test_through_a_link(self):
        """Nothing is written through a link, not even one within the tree."""
        inside = member("tree/sub", tarfile.DIRTYPE)
        link = member("tree/l", tarfile.SYMTYPE, linkname="sub")
        self.refused("PROTOCOL", TOP, inside, link, member("tree/l/evil", content=b"x"))
        self.refused("IO_ERROR", TOP, inside, link, member("tree/l", content=b"x"))

    def test_hard_links(self):
        """One to a file outside is one to nothing; those in circles end."""
        self.refused("IO_ERROR", TOP, member("tree/h", tarfile.LNKTYPE, linkname="/etc/passwd"))
        self.refused(
            "IO_ERROR",
            TOP,
            member("tree/s", tarfile.SYMTYPE, linkname="h"),
            member("tree/h", tarfile.LNKTYPE, linkname="tree/s"),
        )

    def test_devices(self):
        """Devices and FIFOs are refused."""
        for kind in (tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE):
            self.refused("NOT_A_FILE", TOP, member("tree/d", kind))

    def test_no_directory(self):
        """What is sent must be the directory, and nothing may be in its place."""
        self.refused("EXISTS", member("tree", content=b"x"))
        self.target.mkdir()
        error = self.assertRaises(CopyFailed, unpack, self.sent(TOP), "tree", str(self.target))
        self.assertEqual(error.reason, "EXISTS")

    def test_special_bits(self):
        """Set-user-ID and the like are not kept."""
        unpack(
            self.sent(TOP, member("tree/su", content=b"x", mode=0o6755)), "tree", str(self.target)
        )
        self.assertEqual((self.target / "su").stat().st_mode & 0o7777, 0o755)

    def test_no_tar(self):
        """Anything else than a tar is refused, also one that is cut off."""
        whole = self.sent(TOP, member("tree/f", content=b"x" * 9000)).getvalue()
        for content in (b"", b"nonsense" * 100, whole[:2000]):
            error = self.assertRaises(
                CopyFailed, unpack, io.BytesIO(content), "tree", str(self.target)
            )
            self.assertEqual(error.reason, "IO_ERROR")
            self.assertEqual(os.listdir(self.where), [])
