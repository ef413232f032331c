"""Displays, screenshots and consoles in libvirt's definitions; pictures of any size."""

from __future__ import annotations

import io
import struct
import xml.etree.ElementTree as ET
import zlib
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.common.errors import HypervisorError, Unsupported
from vmcontroller.host.hypervisor.libvirt.console import are_logs_bounded
from vmcontroller.host.hypervisor.libvirt.pictures import PIXELS_KEPT, png_of
from vmcontroller.host.hypervisor.libvirt.screen import (
    add_console,
    add_screen,
    console_log_of,
    display_of,
    with_own_console_log,
)
from vmcontroller.host.hypervisor.screen import Display


def domain(devices: str) -> str:
    return f"<domain><devices>{devices}</devices></domain>"


class DisplayTests(SynchronousTestCase):
    def made(self, name: str) -> Display:
        root = ET.Element("domain")
        add_screen(ET.SubElement(root, "devices"), name, is_pc=True)
        self.text = ET.tostring(root, encoding="unicode")
        return display_of(self.text)

    def test_made_here(self) -> None:
        """A new machine's display is a socket and nothing else; it has a path when it runs."""
        self.assertEqual(self.made("vm"), Display(kind="vnc"))
        self.assertNotIn("port", self.text)
        self.assertIn('<model type="vga"', self.text)
        running = self.text.replace('type="socket"', 'type="socket" socket="/run/vnc.sock"')
        self.assertEqual(display_of(running), Display(kind="vnc", socket="/run/vnc.sock"))

    def test_name_that_a_socket_cannot_bear(self) -> None:
        """There is no display, since QEMU would refuse to start; there is a screen all the same."""
        self.assertEqual(self.made("虚" * 20).kind, "vnc")
        self.assertEqual(self.made("🚀" * 20).kind, "none")
        self.assertIn("<video>", self.text)

    def test_of_others(self) -> None:
        """As libvirt writes them: whether anybody could look on is told."""
        for graphics, expected in (
            (
                (
                    "<graphics type='vnc' port='5901' listen='0.0.0.0'>"
                    "<listen type='address' address='0.0.0.0'/></graphics>"
                ),
                Display(kind="vnc", host="0.0.0.0", port=5901, open=True),
            ),
            (
                (
                    "<graphics type='vnc' port='5901' passwd='x'>"
                    "<listen type='address' address='0.0.0.0'/></graphics>"
                ),
                Display(kind="vnc", host="0.0.0.0", port=5901, password="x"),
            ),
            (
                (
                    "<graphics type='vnc' port='5901'><listen type='network' network='default' "
                    "address='192.168.122.1'/></graphics>"
                ),
                Display(kind="vnc", host="192.168.122.1", port=5901, open=True),
            ),
            (
                (
                    "<graphics type='spice' tlsPort='5902'>"
                    "<listen type='address' address='::1'/></graphics>"
                ),
                Display(kind="spice", host="::1", port=5902, tls=True),
            ),
            (
                "<graphics type='vnc' port='5900'/>",
                Display(kind="vnc", host="127.0.0.1", port=5900),
            ),
            ("<graphics type='vnc' port='-1' autoport='yes'/>", Display(kind="vnc")),
            ("<graphics type='spice'><listen type='none'/></graphics>", Display(kind="spice")),
            ("<graphics type='sdl' display=':0'/>", Display()),
            ("", Display()),
        ):
            self.assertEqual(display_of(domain(graphics)), expected, graphics)

    def test_an_open_one_is_not_hidden(self) -> None:
        """Of several displays that can be reached the open one is told."""
        closed = "<graphics type='vnc' socket='/x'><listen type='socket' socket='/x'/></graphics>"
        opened = "<graphics type='spice' port='5900' listen='0.0.0.0'/>"
        for several in (closed + opened, opened + closed):
            self.assertTrue(display_of(domain(several)).open)

    def test_password_is_not_shown_in_logs(self) -> None:
        """What is printed of a display has no password in it."""
        self.assertNotIn("secret", repr(Display(kind="vnc", password="secret")))


class ConsoleTests(SynchronousTestCase):
    def test_log(self) -> None:
        """The file is named in the definition, and appended to at each start; without one, none."""
        devices = ET.Element("devices")
        root = ET.Element("domain")
        root.append(devices)
        add_console(devices, "/var/lib/x/<&'\">.log")
        text = ET.tostring(root, encoding="unicode")
        self.assertEqual(console_log_of(text), "/var/lib/x/<&'\">.log")
        self.assertIn('append="on"', text)
        self.assertEqual(console_log_of(domain("<serial type='pty'/><console/>")), "")
        only = "<console type='pty'><log file='/x'/><target type='virtio'/></console>"
        self.assertEqual(console_log_of(domain(only)), "/x")

    def test_log_of_a_clone(self):
        """Two machines can't keep their consoles in one file: a copied definition gets its own."""
        own, other = (f"{digit * 8}-1111-1111-1111-111111111111" for digit in "ab")

        def definition(name):
            log = f"<serial type='pty'><log file='/var/x/{name}.log' append='on'/></serial>"
            return f"<domain><uuid>{own}</uuid><devices>{log}</devices></domain>"

        changed = with_own_console_log(definition(other))
        self.assertEqual(console_log_of(changed), f"/var/x/{own}.log")
        for kept in (own, "somebodys", f"{other}-2"):
            self.assertIsNone(with_own_console_log(definition(kept)))

    def test_only_bounded_logs(self) -> None:
        """Where libvirt is told to let QEMU write files itself there are none."""
        config = Path(self.mktemp())
        self.assertTrue(are_logs_bounded(config))
        for text, bounded in (
            ('#stdio_handler = "file"\n', True),
            ('stdio_handler = "logd"\n', True),
            ('x = 1\n  stdio_handler="file"\n', False),
        ):
            config.write_text(text)
            self.assertEqual(are_logs_bounded(config), bounded, text)


def ppm(width: int, height: int, data: bytes) -> bytes:
    return b"P6\n%d %d\n255\n" % (width, height) + data


def png_bomb(width: int, height: int) -> bytes:
    """Return a small PNG that claims a large size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + crc

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(bytes(1000)))
        + chunk(b"IEND", b"")
    )


class PictureTests(SynchronousTestCase):
    def test_ppm(self) -> None:
        """What older QEMUs answer becomes a PNG with the same pixels."""
        pixels = bytes(range(2 * 3 * 3))
        with Image.open(io.BytesIO(png_of(ppm(2, 3, pixels)))) as image:
            self.assertEqual((image.format, image.size), ("PNG", (2, 3)))
            self.assertEqual(image.tobytes(), pixels)

    def test_png(self) -> None:
        """What newer ones answer is passed on as it is."""
        png = png_of(ppm(2, 1, bytes(6)))
        self.assertIs(png_of(png), png)

    def test_large_one_is_made_smaller(self) -> None:
        """So that an answer has a bound; its shape stays."""
        with Image.open(io.BytesIO(png_of(ppm(4000, 2000, bytes(4000 * 2000 * 3))))) as image:
            self.assertEqual(image.size, (2000, 1000))
            self.assertLessEqual(image.width * image.height, PIXELS_KEPT)

    def test_huge_one_is_refused(self) -> None:
        """Before it is decoded, whatever a guest has made of its screen."""
        for picture in (
            png_bomb(16000, 12000),
            png_bomb(2**31 - 1, 2**31 - 1),
            ppm(9999, 9999, b""),
        ):
            self.assertRaises(Unsupported, png_of, picture)

    @given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda data: ppm(2, 2, data)))
    def test_anything(self, data: bytes) -> None:
        """What is no picture, or half of one, is an error of ours and nothing else."""
        try:
            png = png_of(data)
        except (HypervisorError, Unsupported):
            return
        self.assertTrue(png.startswith(b"\x89PNG"))
