"""The client has every method of the daemon's table, and nothing it says of one is outdated."""

import inspect
import re
import subprocess
import sys
from collections.abc import Mapping

from twisted.trial.unittest import SynchronousTestCase

from tests.client.fakes import AnsweringCalls
from vmcontroller.client.client import Client
from vmcontroller.client.errors import BY_NAME, Fault, fault_of
from vmcontroller.host.xmlrpc.faults import PUBLISHED
from vmcontroller.host.xmlrpc.method import REQUIRED
from vmcontroller.host.xmlrpc.table import METHODS

EVERY = list({id(method): method for method in METHODS.values()}.values())


def in_python(name):
    """Return a wire name as Python writes it."""
    name = re.sub("VMs?", lambda found: found[0].capitalize(), name).replace(".", "_")
    return re.sub("(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def plain(default):
    """Return a default as the table has it."""
    if default is inspect.Parameter.empty:
        return REQUIRED
    if isinstance(default, Mapping):
        return dict(default)
    return list(default) if isinstance(default, tuple) else default


class Sentinel(str):  # noqa: SLOT000
    """A value that is like no other, and goes for a number and a sequence, too."""

    def __add__(self, other):
        return self


class TableTests(SynchronousTestCase):
    def test_every_method(self):
        """Each method of the table is one of the client's, with its parameters and defaults."""
        for method in EVERY:
            found = inspect.signature(getattr(Client, in_python(method.name))).parameters
            mine = [(name, plain(each.default)) for name, each in found.items() if name != "self"]
            table = [(in_python(each.name), each.default) for each in method.parameters]
            self.assertEqual(mine, table, method.name)

    def test_what_is_sent(self):
        """Each calls its own method, with every parameter in its place."""
        for method in EVERY:
            calls = AnsweringCalls({method.name: ["7"]} if method.name != "sendCmdStdin" else {})
            calls.answers.setdefault(method.name, 7)
            values = [Sentinel(each.name) for each in method.parameters]
            getattr(calls, in_python(method.name))(*values)
            self.assertEqual(calls.calls, [(method.name, *values)])

    def test_every_fault(self):
        """Each published Fault is a class of its own, and there is none without a Fault."""
        self.assertEqual(set(BY_NAME), set(PUBLISHED))
        for name, (number, _) in PUBLISHED.items():
            error = fault_of(number, f"{name}: what: and why")
            self.assertEqual(type(error).NAME, name)
            self.assertEqual(
                (error.number, error.name, error.detail), (number, name, "what: and why")
            )
            self.assertEqual(str(error), f"{name}: what: and why")

    def test_unknown_faults(self):
        """One of a newer daemon, or of somebody else's, is a Fault all the same."""
        newer = fault_of(77, "SOMETHING_NEW: so it is")
        self.assertEqual(
            (type(newer), newer.name, newer.detail), (Fault, "SOMETHING_NEW", "so it is")
        )
        other = fault_of(1, "It broke: badly")
        self.assertEqual((other.name, other.detail), ("FAULT", "It broke: badly"))

    def test_without_twisted(self):
        """The client and the command work without Twisted, and what the daemon needs."""
        script = (
            "import sys\n"
            "class Block:\n"
            "    def find_spec(self, name, *_):\n"
            "        if name.partition('.')[0] in {'twisted','zope','yaml','psutil','netifaces'}:\n"
            "            raise ImportError(name)\n"
            "sys.meta_path.insert(0, Block())\n"
            "from vmcontroller.client import Client\n"
            "import pkgutil, importlib, vmcontroller.client as package\n"
            "for each in pkgutil.walk_packages(package.__path__, package.__name__ + '.'):\n"
            "    if not each.name.endswith('__main__'):\n"
            "        importlib.import_module(each.name)\n"
            "print(Client('http://127.0.0.1:1').url)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", script], check=False, capture_output=True, text=True
        )
        self.assertEqual((done.stdout, done.stderr), ("http://127.0.0.1:1\n", ""))
