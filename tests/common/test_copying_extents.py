"""Where a file has bytes and where it has holes."""

from __future__ import annotations

import errno
import itertools
import os
from pathlib import Path
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.common.copying.extents import Extent, data_extents

PAGE = 64 * 1024
"""Of a size that every file system can leave out."""


class TestExtents(SynchronousTestCase):
    def setUp(self):
        self.path = Path(self.mktemp())
        self.fd = os.open(self.path, os.O_RDWR | os.O_CREAT)
        self.addCleanup(os.close, self.fd)

    def extents(self):
        return list(data_extents(self.fd, os.fstat(self.fd).st_size))

    def test_empty(self):
        """A file without bytes has no stretch, and neither has one that is all hole."""
        self.assertEqual(self.extents(), [])
        os.ftruncate(self.fd, 2**40)
        self.assertEqual(self.extents(), [])

    def test_whole(self):
        """A file without holes is one stretch, whatever its size."""
        os.pwrite(self.fd, b"abc", 0)
        self.assertEqual(self.extents(), [Extent(0, 3)])
        os.pwrite(self.fd, bytes(PAGE), 0)
        self.assertEqual(self.extents(), [Extent(0, PAGE)])

    @settings(max_examples=50)
    @given(st.sets(st.integers(0, 12)), st.integers(0, 14 * PAGE))
    def test_pages(self, pages, more_bytes):
        """What was written is in a stretch, and stretches are in order and never touch."""
        os.ftruncate(self.fd, 0)
        for page in pages:
            os.pwrite(self.fd, b"x" * PAGE, page * PAGE)
        size_bytes = max([(page + 1) * PAGE for page in pages], default=0) + more_bytes
        os.ftruncate(self.fd, size_bytes)
        extents = self.extents()
        for before, after in itertools.pairwise(extents):
            self.assertLess(before.end, after.offset)
        for extent in extents:
            self.assertGreater(extent.length_bytes, 0)
            self.assertLessEqual(extent.end, size_bytes)
        for page in pages:
            at = page * PAGE
            self.assertTrue(any(e.offset <= at and at + PAGE <= e.end for e in extents))

    def test_shorter_than_said(self):
        """A file that was cut short meanwhile has fewer stretches, and the search ends."""
        os.pwrite(self.fd, bytes(PAGE), 0)
        self.assertEqual(list(data_extents(self.fd, 2**50)), [Extent(0, PAGE)])

    def test_file_system_without_holes(self):
        """Where the system can't tell, the whole file is data."""
        os.pwrite(self.fd, b"abc", PAGE)
        for number in (errno.EINVAL, errno.EOPNOTSUPP):
            with mock.patch("os.lseek", side_effect=OSError(number, "no")):
                self.assertEqual(self.extents(), [Extent(0, PAGE + 3)])

    def test_bad_disk(self):
        """An error of the disk is no hole."""
        os.pwrite(self.fd, b"abc", 0)
        with mock.patch("os.lseek", side_effect=OSError(errno.EIO, "bad")):
            self.assertRaises(OSError, self.extents)
