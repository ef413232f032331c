"""What the parts of a request must keep to together."""

from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.common.errors import BadArgument
from vmcontroller.common.model import CommandSpec
from vmcontroller.host.requests import COMMAND_MAX_BYTES, CreateOptions, RunOptions, command_spec


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
    return command_spec(**parts | given)


class RequestTests(SynchronousTestCase):
    def test_boot_options_need_a_kernel(self):
        """An initrd or a command line without a kernel would be ignored: it is an error."""
        for option in ("initrd", "cmdline"):
            error = self.assertRaises(BadArgument, CreateOptions, **{option: "/x"})
            self.assertEqual(error.name, f"options.{option}")
            self.assertIn("options.kernel", error.problem)
        CreateOptions(kernel="/k", initrd="/i", cmdline="quiet")

    def test_defaults_are_those_of_the_model(self):
        """A request without options is the plain command."""
        self.assertEqual(spec(), CommandSpec(cmd="cat"))

    def test_one_stdin(self):
        """A file and bytes cannot both be stdin."""
        options = RunOptions(stdin=b"x")
        self.assertEqual(spec(options=options).stdin, b"x")
        error = self.assertRaises(BadArgument, spec, options=options, file_for_stdin="/f")
        self.assertEqual(error.name, "options.stdin")

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
