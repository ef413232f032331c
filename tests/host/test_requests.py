"""What the parts of a request must keep to together."""

from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.common.errors import BadArgument
from vmcontroller.common.model import CommandSpec
from vmcontroller.host.requests import (
    COMMAND_MAX_BYTES,
    CreateOptions,
    DiskOptions,
    RunOptions,
    run_request,
)


def spec(**given):
    """Put a request together of which only a part matters."""
    parts = {
        "cmd": "cat",
        "args": (),
        "env": {},
        "path": "",
        "file_for_stdin": "",
        "options": RunOptions(),
    }
    return run_request(**parts | given).spec


class RequestTests(SynchronousTestCase):
    def test_boot_options_need_a_kernel(self):
        """An initrd or a command line without a kernel would be ignored: it is an error."""
        for option in ("initrd", "cmdline"):
            error = self.assertRaises(BadArgument, CreateOptions, **{option: "/x"})
            self.assertEqual(error.name, f"options.{option}")
            self.assertIn("options.kernel", error.problem)
        CreateOptions(kernel="/k", initrd="/i", cmdline="quiet")

    def test_options_of_create_that_contradict(self):
        """What can't be had together is an error that names the option, not a guess."""
        for options, name in (
            ({"disk_size_mib": 5}, "options.diskSize"),
            ({"network": "nat", "bridge": "br0"}, "options.bridge"),
            ({"boot_order": ("disk", "disk")}, "options.bootOrder"),
            ({"boot_order": ("disk",), "kernel": "/k"}, "options.bootOrder"),
            ({"boot_order": ("cdrom",)}, "options.bootOrder"),
            ({"boot_order": ("network",), "network": "none"}, "options.bootOrder"),
            ({"disks": (DiskOptions(),)}, "options.disks[0]"),
            ({"disks": (DiskOptions(path="/d", size_mib=1),)}, "options.disks[0]"),
            ({"disks": (DiskOptions(size_mib=1, format="raw"),)}, "options.disks[0].format"),
        ):
            error = self.assertRaises(BadArgument, CreateOptions, **options)
            self.assertEqual(error.name, name)
        CreateOptions(clone=True, disk_size_mib=5, boot_order=("network", "disk"), bridge="br0")

    def test_defaults_are_those_of_the_model(self):
        """A request without options is the plain command."""
        self.assertEqual(spec(), CommandSpec(cmd="cat"))

    def test_one_stdin(self):
        """A file and bytes cannot both be stdin."""
        options = RunOptions(stdin=b"x")
        self.assertEqual(spec(options=options).stdin, b"x")
        error = self.assertRaises(BadArgument, spec, options=options, file_for_stdin="/f")
        self.assertEqual(error.name, "options.stdin")

    def test_stdin_that_comes_later(self):
        """Bytes may come before what is sent while it runs; two sources of that may not be."""
        self.assertTrue(spec(options=RunOptions(stdin=b"x", stdin_open=True)).stdin_open)
        self.assertTrue(spec(options=RunOptions(stdin_from_host="/f")).stdin_open)
        for options, name in (
            (RunOptions(stdin_open=True), "stdinOpen"),
            (RunOptions(stdin_from_host="/f"), "stdinFromHost"),
        ):
            error = self.assertRaises(BadArgument, spec, options=options, file_for_stdin="/g")
            self.assertEqual(error.name, f"options.{name}")
        both = RunOptions(stdin_open=True, stdin_from_host="/f")
        self.assertRaises(BadArgument, spec, options=both)

    def test_what_no_message_carries(self):
        """A request that doesn't fit into a frame is refused here, whatever made it large."""
        large = COMMAND_MAX_BYTES
        for given in (
            {"options": RunOptions(stdin=b"x" * large)},
            {"args": ("\x01" * (large // 6),)},
            {"env": {"A": "ü" * (large // 6)}},
        ):
            error = self.assertRaises(BadArgument, spec, **given)
            self.assertIn(str(COMMAND_MAX_BYTES), error.problem)
        spec(options=RunOptions(stdin=b"x" * (large - 1000)))
