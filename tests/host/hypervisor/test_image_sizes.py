"""How large the disk in an image is; made with the real qemu-img."""

from __future__ import annotations

import shutil
import subprocess

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.common.errors import BadImage
from vmcontroller.host.hypervisor.image_sizes import disk_bytes, read_disk_bytes

MIB = 2**20


class ImageSizeTests(SynchronousTestCase):
    def test_real_images(self) -> None:
        """The size is the guest's, not the file's, in every format that is taken."""
        if not shutil.which("qemu-img"):
            self.fail("needs qemu-img")
        for kind, options in (
            ("qcow2", ()),
            ("raw", ()),
            ("vmdk", ()),
            ("vmdk", ("-o", "subformat=monolithicFlat")),
            ("vmdk", ("-o", "subformat=twoGbMaxExtentSparse")),
        ):
            path = self.mktemp()
            subprocess.run(
                ["qemu-img", "create", "-q", "-f", kind, *options, path, str(37 * MIB)], check=True
            )
            self.assertEqual(read_disk_bytes(path, kind), 37 * MIB, options)

    @given(st.binary(max_size=200), st.sampled_from(["qcow2", "vmdk", "raw"]))
    def test_anything(self, head: bytes, kind: str) -> None:
        """A damaged header is a size or BadImage, nothing else."""
        try:
            self.assertGreaterEqual(disk_bytes(head, len(head), kind, "/x"), 0)
        except BadImage as error:
            self.assertEqual(error.path, "/x")
