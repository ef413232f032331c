"""One table: what can be called, what help says, what the page says and what the table has."""

import contextlib
import io
import runpy
import sys
from pathlib import Path
from xmlrpc.client import Fault

from twisted.trial.unittest import SynchronousTestCase

import vmcontroller
from tests.host.xmlrpc.recording import InMemoryDoor
from vmcontroller.common.door_config import ROLES
from vmcontroller.host.transfers.request import CopyOptions
from vmcontroller.host.xmlrpc.introspection import INTROSPECTION, unique
from vmcontroller.host.xmlrpc.kinds import Options
from vmcontroller.host.xmlrpc.method import REQUIRED
from vmcontroller.host.xmlrpc.operations_protocol import Operations
from vmcontroller.host.xmlrpc.table import METHODS

ROOT = Path(vmcontroller.__file__).parents[1]

SEED_METHODS = {
    "createVM": "vm image options={}",
    "removeVM": "vm",
    "start": "vm guiMode=False",
    "shutdown": "vm",
    "reset": "vm",
    "powerOff": "vm",
    "pause": "vm",
    "resume": "vm",
    "getState": "vm",
    "sleep": "vm",
    "saveState": "vm",
    "discardState": "vm",
    "takeSnapshot": "vm name desc=''",
    "restoreSnapshot": "vm name='' desc=''",
    "deleteSnapshot": "vm name",
    "listSnapshots": "vm",
    "ping": "vm timeout_secs=5.0",
    "runCmd": "vm cmd args=[] env={} path='' fileForStdin='' options={}",
    "listFinishedCmds": "",
    "getCmdResults": "cmdId",
    "getCmdDetails": "cmdId",
    "cpFileToVM": "vm localPath remotePath='' options={}",
    "cpFileFromVM": "vm remotePath localPath='' options={}",
    "help": "methodName=''",
    "listVMs": "",
    "listVMsWithState": "",
    "listRunningVMs": "",
    "getIdsToNamesMapping": "",
    "getNamesToIdsMapping": "",
}
"""As the seeds promise them (facts of the original), with the options that were added."""

MINIMAL = {
    "createVM": ("a", "/d"),
    "runCmd": ("a", "ls"),
    "waitCmd": ("id",),
    "getCmdResults": ("id",),
    "getCmdDetails": ("id",),
    "getCmdOutput": ("id", "stdout"),
    "forgetCmd": ("id",),
    "killCmd": ("id",),
    "sendCmdStdin": ("id", ""),
    "closeCmdStdin": ("id",),
    "runCmdOnAll": ("*", "ls"),
    "waitCmdOnAll": ("id",),
    "submit": ("version",),
    "cpFileToVM": ("a", "/l"),
    "cpFileFromVM": ("a", "/r"),
    "takeSnapshot": ("a", "s"),
    "deleteSnapshot": ("a", "s"),
    "getTransfer": ("id",),
    "cancelTransfer": ("id",),
}
"""The fewest arguments, where they are not just a VM or none."""


class TableTests(SynchronousTestCase):
    def setUp(self):
        self.door = InMemoryDoor()

    def test_seed_methods(self):
        """The wire names and positional parameters of seed 001 stay as they are."""
        for name, parameters in SEED_METHODS.items():
            self.assertEqual(METHODS[name].usage, f"{name}({', '.join(parameters.split())})")

    def test_aliases(self):
        """The names of older generations call the same methods."""
        for alias, name in (
            ("listAvailableVMs", "listVMs"),
            ("unpause", "resume"),
            ("saveSnapshot", "takeSnapshot"),
        ):
            self.assertIs(METHODS[alias], METHODS[name])

    def test_every_operation_has_its_method(self):
        """Each method reaches an operation of its own, and no operation is out of reach."""
        for method in unique(METHODS):
            if method not in INTROSPECTION:
                fewest = ("a",) if method.required else ()
                with contextlib.suppress(Fault):
                    self.door.call(method.name, *MINIMAL.get(method.name, fewest))
        called = [name for name, *_ in self.door.operations.calls]
        wanted = [name for name in vars(Operations) if not name.startswith("_")]
        self.assertEqual(sorted(called), sorted(wanted))

    def test_arguments_arrive_in_order(self):
        """Paths and pages are not mixed up on the way."""
        for params, call in (
            (
                ("cpFileToVM", "a", "/l", "/r"),
                ("cp_file_to_vm", "a", "/l", "/r", CopyOptions(roles=ROLES)),
            ),
            (
                ("cpFileFromVM", "a", "/r", "/l", {"recursive": True}),
                ("cp_file_from_vm", "a", "/r", "/l", CopyOptions(recursive=True, roles=ROLES)),
            ),
            (
                ("getCmdOutput", "i", "stderr", 3, 4, 5),
                ("get_cmd_output", "i", "stderr", 3, 4, 5.0),
            ),
            (("waitCmd", "i", 7), ("wait_cmd", "i", 7.0)),
        ):
            self.door.operations.calls.clear()
            self.door.call(*params)
            self.assertEqual(self.door.operations.calls, [call])

    def test_defaults_are_allowed(self):
        """A parameter's default passes its own check, and only the last ones have any."""
        for method in unique(METHODS):
            required = [parameter.default is REQUIRED for parameter in method.parameters]
            self.assertEqual(required, sorted(required, reverse=True), method.name)
            for parameter in method.parameters:
                if parameter.default is not REQUIRED:
                    parameter.kind.check(parameter.name, parameter.default)

    def test_everything_is_explained(self):
        """Every method and parameter has a text, and an example that calls it."""
        for method in unique(METHODS):
            self.assertTrue(method.doc and method.answer, method.name)
            self.assertIn(f"host.{method.name}(", method.example)
            compile(method.example, method.name, "eval")
            for parameter in method.parameters:
                self.assertTrue(parameter.doc, f"{method.name}: {parameter.name}")

    def test_examples_are_good_calls(self):
        """The arguments of every example are allowed."""
        outer = self

        class Host:
            def __init__(self, name=""):
                self._name = name

            def __getattr__(self, name):
                return Host(f"{self._name}.{name}".lstrip("."))

            def __call__(self, *params):
                outer.checked.append(self._name)
                METHODS[self._name].bind(params)
                return Anything()

        class Anything:
            data = b""

            def __getitem__(self, key):
                return self

            def __contains__(self, item):
                return True

        self.checked = []
        names = {
            "host": Host(),
            "cmd_id": "id",
            "batch": "id",
            "transfer_id": "id",
            "task_id": "id",
            "print": lambda text: None,
        }
        for method in unique(METHODS):
            eval(method.example, dict(names))
        self.assertEqual(self.checked, [method.name for method in unique(METHODS)])


class IntrospectionTests(SynchronousTestCase):
    def setUp(self):
        self.door = InMemoryDoor()

    def test_list_methods(self):
        """system.listMethods names what is in the table, aliases among it."""
        self.assertEqual(self.door.call("system.listMethods"), sorted(METHODS))

    def test_help_of_one(self):
        """Help shows usage, each parameter, each option and an example."""
        text = self.door.call("help", "createVM")
        method = METHODS["createVM"]
        self.assertTrue(text.startswith(f"{method.usage}:\n{method.doc}\n"))
        for parameter in method.parameters:
            self.assertIn(f"{parameter.name}: {parameter.doc}", text)
            if isinstance(parameter.kind, Options):
                for option in parameter.kind.entries:
                    self.assertIn(f"{option.key} ({option.kind.wire}): {option.doc}", text)
        self.assertIn(method.example, text)
        self.assertEqual(self.door.call("system.methodHelp", "createVM"), text)
        self.assertIn("Also called unpause.", self.door.call("help", "unpause"))

    def test_help_of_all(self):
        """Help without a name has every method once, blank lines between, as the original."""
        texts = self.door.call("help").split("\n\n")
        self.assertEqual(
            [text.partition("(")[0] for text in texts],
            [method.name for method in unique(METHODS)],
        )
        self.assertEqual(self.door.call("help", "None"), self.door.call("help", ""))

    def test_help_of_none(self):
        """What isn't in the table has no help."""
        for method in ("help", "system.methodHelp", "system.methodSignature"):
            self.assertEqual(self.door.fault(method, "nope").faultCode, 1)
            self.assertEqual(self.door.fault(method, "__init__").faultCode, 1)

    def test_signatures(self):
        """There is a signature for each number of arguments that is taken."""
        self.assertEqual(
            self.door.call("system.methodSignature", "start"),
            [["boolean", "string"], ["boolean", "string", "boolean"]],
        )
        self.assertEqual(self.door.call("system.methodSignature", "listVMs"), [["array"]])
        for name in METHODS:
            self.assertTrue(self.door.call("system.methodSignature", name))

    def test_only_the_table_can_be_called(self):
        """No name reaches an attribute of anything: neither Python's nor the operations'."""
        for name in (
            "list_vms",
            "operations.list_vms",
            "__init__",
            "call",
            "system",
            "system.",
            "listvms",
            "listVMs ",
            "supervisor.supervisord.options.warnings.linecache.os.system",
        ):
            fault = self.door.fault(name)
            self.assertEqual(
                (fault.faultCode, fault.faultString),
                (1, f"NO_SUCH_METHOD: there is no method {name!r}; help() lists them"),
            )
        self.assertEqual(self.door.operations.calls, [])

    def test_an_endless_name_is_cut(self):
        """A method's name of any length makes a short Fault."""
        self.assertLess(len(self.door.fault("x" * 10**5).faultString), 200)


class MulticallTests(SynchronousTestCase):
    def setUp(self):
        self.door = InMemoryDoor()

    def test_answers_and_faults(self):
        """Each call has its own answer or Fault, in order; one that fails doesn't stop others."""
        self.door.operations.answers["get_state"] = "Running"
        answers = self.door.call(
            "system.multicall",
            [
                {"methodName": "getState", "params": ["a"]},
                {"methodName": "nope", "params": []},
                {"methodName": "getState", "params": []},
                {"methodName": "listVMs"},
                {"methodName": "system.multicall", "params": [[]]},
            ],
        )
        self.assertEqual(answers[0], ["Running"])
        self.assertEqual(
            [answer["faultCode"] for answer in (answers[1], answers[2], answers[4])], [1, 2, 2]
        )
        self.assertEqual(answers[3], [True])
        self.assertEqual(
            answers[4]["faultString"],
            "BAD_ARGUMENT: calls: system.multicall cannot be one of them",
        )

    def test_bugs(self):
        """A bug in one call is an incident, as it is alone."""
        self.door.operations.answers["list_vms"] = ValueError("x")
        (answer,) = self.door.call("system.multicall", [{"methodName": "listVMs"}])
        self.assertEqual(answer["faultCode"], 9)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_bad_calls(self):
        """What isn't a list of calls is refused before the first is made."""
        good = {"methodName": "listVMs", "params": []}
        a_call = "must be a struct of methodName and params"
        for calls, says in (
            ("listVMs", "calls: must be an array of at most 1000 structs"),
            ([good] * 1001, "calls: must be an array of at most 1000 structs"),
            ([good, "listVMs"], f"calls[1]: {a_call}, not a string"),
            ([good, {}], "calls[1].methodName: must be a string, not nil"),
            ([{"methodName": "x", "params": 1}], "calls[0].params: must be an array, not an int"),
        ):
            fault = self.door.fault("system.multicall", calls)
            self.assertIn(f"BAD_ARGUMENT: {says}", fault.faultString)
        self.assertEqual(self.door.operations.calls, [])


class PageTests(SynchronousTestCase):
    def test_page_is_the_table(self):
        """docs/xmlrpc-api.md is what scripts/api-docs prints."""
        self.patch(sys, "path", list(sys.path))
        printed = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
        with contextlib.redirect_stdout(printed):
            runpy.run_path(str(ROOT / "scripts/api-docs"))
        printed.flush()
        self.assertEqual(
            (ROOT / "docs/xmlrpc-api.md").read_text("utf-8"),
            printed.buffer.getvalue().decode(),
            "run scripts/api-docs > docs/xmlrpc-api.md",
        )

    def test_page_has_every_method(self):
        """Every method has its section, with its usage and its example."""
        page = (ROOT / "docs/xmlrpc-api.md").read_text("utf-8")
        for method in unique(METHODS):
            self.assertIn(f"### {method.name}\n\n`{method.usage}` → {method.returns}\n", page)
            self.assertIn(f"```python\n{method.example}\n```\n", page)
