"""Host paths that copies may use, and those that only look like it."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.common.copying_wire import open_files
from vmcontroller.common.copying.reasons import Reason
from vmcontroller.common.copying.source import SourceFile
from vmcontroller.common.errors import AccessDenied, TransferFailed
from vmcontroller.host.transfers.roots import AllowedRoots


class RootsCase(SynchronousTestCase):
    def setUp(self):
        self.base = Path(os.path.realpath(self.mktemp()))
        self.exchange = self.base / "exchange"
        self.extra = self.base / "extra"
        self.outside = self.base / "outside"
        for directory in (self.exchange / "sub", self.extra, self.outside):
            directory.mkdir(parents=True)
        (self.outside / "secret").write_text("secret")
        (self.exchange / "file").write_text("content")
        self.roots = AllowedRoots([str(self.exchange), str(self.extra)])

    def assert_denied(self, path):
        with self.assertRaises(AccessDenied) as readable:
            self.roots.readable(path)
        with self.assertRaises(AccessDenied):
            self.roots.writable(path, name="name")
        return str(readable.exception)


class TestResolving(RootsCase):
    def test_relative_to_the_first(self):
        """A relative path begins in the first root."""
        self.assertEqual(self.roots.resolve_readable("file"), str(self.exchange / "file"))

    def test_every_root(self):
        """An absolute path may lie below any root."""
        for root in (self.exchange, self.extra):
            path = str(root / "a" / "b")
            self.assertEqual(self.roots.resolve_writable(path, name=""), path)

    def test_outside(self):
        """A path outside is refused, and the error names what is allowed."""
        text = self.assert_denied(str(self.outside / "secret"))
        self.assertIn(str(self.exchange), text)
        self.assertIn(str(self.extra), text)

    def test_upwards(self):
        """Two dots lead no way out."""
        self.assert_denied("../outside/secret")
        self.assert_denied("sub/../../outside/secret")

    def test_name_begins_alike(self):
        """A directory whose name begins like a root's is not below it."""
        (self.base / "exchange2").mkdir()
        self.assert_denied(str(self.base / "exchange2" / "x"))

    def test_links_out(self):
        """Symbolic links are followed before the check, as a directory and as a file."""
        (self.exchange / "link").symlink_to(self.outside)
        (self.exchange / "filelink").symlink_to(self.outside / "secret")
        (self.exchange / "dangling").symlink_to(self.outside / "new")
        for path in ("link/secret", "filelink", "dangling"):
            self.assert_denied(path)

    def test_link_between_roots(self):
        """A link from one root into another is fine."""
        (self.exchange / "link").symlink_to(self.extra)
        self.assertEqual(self.roots.resolve_readable("link/x"), str(self.extra / "x"))

    def test_root_is_a_link(self):
        """A root may itself be reached through a link."""
        alias = self.base / "alias"
        alias.symlink_to(self.exchange)
        roots = AllowedRoots([str(alias)])
        self.assertEqual(roots.resolve_readable("file"), str(self.exchange / "file"))

    def test_read_only(self):
        """Below a directory that may only be read nothing is written, also not by a link."""
        (self.exchange / "link").symlink_to(self.outside)
        roots = AllowedRoots([str(self.exchange)], read_only=[str(self.outside)])
        secret = str(self.outside / "secret")
        self.assertEqual(roots.resolve_readable(secret), secret)
        self.assertEqual(roots.resolve_readable("link/secret"), secret)
        for path in (secret, "link/secret", "link", str(self.outside / "new")):
            with self.assertRaises(AccessDenied) as caught:
                roots.resolve_writable(path, name="new")
            self.assertNotIn(repr(str(self.outside)), str(caught.exception).partition("use:")[2])

    def test_of_a_role(self):
        """A role has its own directories beside those of all; others don't have them."""
        roots = AllowedRoots([str(self.exchange)], of_roles={"files": [str(self.extra)]})
        path = str(self.extra / "x")
        for roles in ({"files"}, ("read", "files")):
            self.assertEqual(roots.of(roles).resolve_writable(path, name=""), path)
            self.assertEqual(roots.of(roles).resolve_readable("file"), str(self.exchange / "file"))
        for roles in ((), {"exec"}, ("read", "none")):
            self.assertRaises(AccessDenied, roots.of(roles).resolve_readable, path)
        os.close(roots.readable(path, ("files",)).directory_fd)
        self.assertRaises(AccessDenied, roots.readable, path, ("exec",))

    def test_everything_allowed(self):
        """With `/` as a root every path is allowed."""
        roots = AllowedRoots(["/"])
        self.assertEqual(roots.resolve_readable("/etc/passwd"), "/etc/passwd")

    def test_directory_takes_the_name(self):
        """A directory, a slash at the end and an empty path get the copy inside."""
        for path in ("sub", "sub/", str(self.exchange / "sub")):
            resolved = self.roots.resolve_writable(path, name="name")
            self.assertEqual(resolved, str(self.exchange / "sub" / "name"))
        self.assertEqual(self.roots.resolve_writable("", name="name"), str(self.exchange / "name"))

    def test_name_in_directory_is_a_link_out(self):
        """The name inside a directory is checked like any path."""
        (self.exchange / "sub" / "name").symlink_to(self.outside / "secret")
        with self.assertRaises(AccessDenied):
            self.roots.resolve_writable("sub", name="name")

    def test_impossible_names(self):
        """Paths that no file can have are answered, not crashed on."""
        for path in ("", "a\0b", "\ud800"):
            with self.assertRaises(TransferFailed) as caught:
                self.roots.readable(path)
            self.assertEqual(caught.exception.reason, Reason.NO_SUCH_FILE)

    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.sampled_from(["..", ".", "sub", "link", "file", "", "x"]), max_size=7))
    def test_never_outside(self, parts):
        """Whatever is put together from names, dots and links, the result is below a root."""
        if not (self.exchange / "link").is_symlink():
            (self.exchange / "link").symlink_to(self.outside)
        try:
            real = self.roots.resolve_writable("/".join(parts), name="n")
        except (AccessDenied, TransferFailed):
            return
        self.assertTrue(real.startswith((f"{self.exchange}/", f"{self.extra}/")))
        self.assertNotIn(str(self.outside), real)


class TestOpening(RootsCase):
    def test_read(self):
        """What is opened is the file that was named."""
        source = SourceFile.open(self.roots.readable("file"))
        self.assertEqual(source.read(), b"content")
        source.close()

    def test_root_itself(self):
        """A root is a directory, not a file."""
        with self.assertRaises(TransferFailed) as caught:
            self.roots.readable(str(self.exchange))
        self.assertEqual(caught.exception.reason, Reason.IS_A_DIRECTORY)

    def test_missing_directory(self):
        """A directory that isn't there is an error that leaves nothing open."""
        before = open_files()
        with self.assertRaises(TransferFailed) as caught:
            self.roots.writable("sub/none/x", name="")
        self.assertEqual(caught.exception.reason, Reason.NO_SUCH_FILE)
        self.assertEqual(open_files(), before)

    def test_directory_swapped_for_a_link(self):
        """A directory that becomes a link after the check does not lead out."""

        class Swapping(AllowedRoots):
            def resolve_readable(inner, path):  # noqa: N805
                real = super().resolve_readable(path)
                (self.exchange / "sub").rmdir()
                (self.exchange / "sub").symlink_to(self.outside)
                return real

        with self.assertRaises(TransferFailed):
            Swapping([str(self.exchange)]).readable("sub/secret")

    def test_file_swapped_for_a_link(self):
        """A file that becomes a link after the check is not followed."""
        place = self.roots.readable("file")
        (self.exchange / "file").unlink()
        (self.exchange / "file").symlink_to(self.outside / "secret")
        with self.assertRaises(TransferFailed):
            SourceFile.open(place)
