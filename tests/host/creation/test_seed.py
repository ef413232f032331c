"""Seeds for cloud-init: what is taken, what is refused, and what the image holds."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pycdlib
import yaml
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.common.errors import BadArgument
from vmcontroller.host.creation.seed import seed_files
from vmcontroller.host.creation.seed_image import write_seed
from vmcontroller.host.requests import CreateOptions

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ6vJnGJw"


def files(**options: object) -> dict[str, bytes]:
    """The files of a seed."""
    return dict(seed_files(CreateOptions(**options), "the-uuid"))  # type: ignore[arg-type]


def meta_data(**options: object) -> object:
    """What cloud-init reads out of meta-data."""
    return yaml.safe_load(files(**options)["meta-data"])


class SeedTests(SynchronousTestCase):
    def refused(self, about: str, **options: object) -> str:
        error = self.assertRaises(BadArgument, files, **options)
        self.assertEqual(error.name, f"options.{about}")
        self.assertLess(len(str(error)), 600)
        return error.problem

    def test_smallest(self) -> None:
        """user-data and meta-data are there in any case, as cloud-init demands."""
        self.assertEqual(
            files(hostname="h"),
            {"user-data": b"", "meta-data": b"instance-id: the-uuid\nlocal-hostname: h\n"},
        )

    def test_to_the_byte(self) -> None:
        """What was given is passed on as it is, where nothing has to be added."""
        given_files = {
            "user_data": "#cloud-config\n# \u00fc\n",
            "meta_data": "{instance-id: mine, x: 1}  # as given",
            "network_config": "version: 2\n",
        }
        self.assertEqual(
            files(**given_files),
            {name.replace("_", "-"): text.encode() for name, text in given_files.items()},
        )

    def test_meta_data_is_completed(self) -> None:
        """An instance-id, the hostname and the keys are merged into what was given."""
        told = meta_data(meta_data="a: [1, {b: c}]", hostname="h.example", ssh_keys=(KEY,))
        self.assertEqual(
            told,
            {
                "a": [1, {"b": "c"}],
                "instance-id": "the-uuid",
                "local-hostname": "h.example",
                "public-keys": [KEY],
            },
        )

    def test_said_twice(self) -> None:
        """What meta-data says already can't be said by an option, too."""
        self.refused("hostname", hostname="h", meta_data="local-hostname: x")
        self.refused("sshKeys", ssh_keys=(KEY,), meta_data="public-keys: []")

    def test_user_data_as_cloud_init_wants_it(self) -> None:
        """All beginnings that cloud-init knows are taken; what it would ignore is refused."""
        for text in (
            "#cloud-config\n",
            "#!/bin/sh\n",
            "  \n#Include\nhttp://example.com/x",
            "## template: jinja\n#cloud-config\n",
            "#cloud-boothook\n",
            "From nobody\nContent-Type: multipart/mixed\nMIME-Version: 1.0\n\n",
        ):
            self.assertEqual(files(user_data=text)["user-data"], text.encode())
        for text in ("runcmd: [x]", "# cloud-config", "x" * 100, "\x00"):
            self.assertIn("#cloud-config", self.refused("userData", user_data=text))
        self.refused("userData", user_data="#!\udc80")

    def test_yaml_that_is_none(self) -> None:
        """Broken, deep, exploding and other YAML is one error, and quickly so."""
        merges = "a0: &a0 {x: 1}\n" + "".join(
            f"a{level}: &a{level} {{<<: [{', '.join([f'*a{level - 1}'] * 9)}]}}\n"
            for level in range(1, 12)
        )
        for text in ("a: b: c", "[" * 5000, "- x", "just text", "", merges, "a: &a [*a", "\x07"):
            if text:
                self.refused("networkConfig", network_config=text)
                self.refused("metaData", meta_data=text)

    def test_hostnames(self) -> None:
        """Names that RFC 1123 allows are taken; a line feed brings nothing into meta-data."""
        for name in ("a", "A-1", "1.example", "x" * 63, ".".join(["x" * 63] * 3)):
            self.assertEqual(
                meta_data(hostname=name), {"instance-id": "the-uuid", "local-hostname": name}
            )
        for name in (
            "-a",
            "a-",
            "a..b",
            ".a",
            "a_b",
            "a b",
            "a\nb",
            "a\n",
            "x" * 64,
            "ü",
            "x." * 130 + "x",
        ):
            self.assertIn("no host name", self.refused("hostname", hostname=name))

    @given(st.text(max_size=30))
    def test_hostnames_never_break_out(self, name: str) -> None:
        """Whatever a hostname is, meta-data has that one and nothing else, or it is refused."""
        try:
            told = meta_data(hostname=name)
        except BadArgument:
            return
        expected = {"instance-id": "the-uuid", "local-hostname": name}
        self.assertEqual(told, expected if name else {"instance-id": "the-uuid"})

    def test_keys(self) -> None:
        """Lines of authorized_keys are taken, with options and names; others are not."""
        good = (
            KEY,
            f"{KEY} me@host and more",
            f'command="echo hi",no-pty {KEY} x',
            "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTY= x",
            "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2g=",
        )
        told = meta_data(ssh_keys=good)
        assert isinstance(told, dict)
        self.assertEqual(told["public-keys"], list(good))
        for key in (
            "x",
            "ssh-ed25519",
            f"{KEY}\n",
            f"{KEY}\nssh-rsa x",
            f"{KEY} a\x07",
            "ssh-rsa ÄÖ",
        ):
            self.refused("sshKeys[1]", ssh_keys=(KEY, key))
        private = "-----BEGIN OPENSSH PRIVATE KEY-----"
        self.assertIn("private", self.refused("sshKeys[0]", ssh_keys=(private,)))

    @given(
        st.dictionaries(
            st.sampled_from(["user-data", "meta-data", "network-config"]),
            st.binary(max_size=5000),
            min_size=1,
        )
    )
    def test_image_holds_the_files(self, content: dict[str, bytes]) -> None:
        """The image is called cidata, and has each file under its name in both its trees."""
        path = Path(self.mktemp())
        write_seed(str(path), content)
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        self.assertEqual(path.stat().st_size % 512, 0)
        image = pycdlib.PyCdlib()
        image.open(str(path))
        self.assertEqual(image.pvd.volume_identifier.strip(), b"cidata")
        for name, octets in content.items():
            for tree in ({"rr_path": f"/{name}"}, {"joliet_path": f"/{name}"}):
                read = io.BytesIO()
                image.get_file_from_iso_fp(read, **tree)
                self.assertEqual(read.getvalue(), octets)
        image.close()

    def test_image_replaces_nothing(self) -> None:
        """A file that is there, or a link that somebody put there, is not written over."""
        target, link = Path(self.mktemp()), self.mktemp()
        target.write_text("theirs")
        os.symlink(target, link)
        self.assertRaises(FileExistsError, write_seed, link, {"user-data": b"x"})
        self.assertEqual(target.read_text(), "theirs")
