"""The published Faults: complete, stable, and silent about what is inside."""

import importlib
import pkgutil
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import vmcontroller
from tests.host.xmlrpc.recording import InMemoryDoor
from vmcontroller.common.errors import (
    HypervisorUnreachable,
    InvalidState,
    NoSuchVM,
    VMControllerError,
)
from vmcontroller.host.xmlrpc.faults import FAMILIES, PUBLISHED, expected_fault


def import_everything():
    """Import every module, so that every error class exists; libvirt's binding may be absent."""
    for module in pkgutil.walk_packages(vmcontroller.__path__, "vmcontroller."):
        if module.name.endswith(".__main__"):  # a program, and none that others import
            continue
        try:
            importlib.import_module(module.name)
        except ImportError as error:
            if error.name != "libvirt":
                raise


def error_classes(root=VMControllerError):
    """Walk the tree of expected errors."""
    yield root
    for child in root.__subclasses__():
        yield from error_classes(child)


class TableTests(SynchronousTestCase):
    def test_every_error_is_published(self):
        """No expected error can reach a client as INTERNAL for want of a number."""
        import_everything()
        unpublished = {error.fault for error in error_classes()} - set(PUBLISHED)
        self.assertEqual(unpublished, set())

    def test_nothing_is_published_in_vain(self):
        """Every name has an error class, but for the one that stands for bugs."""
        import_everything()
        names = {error.fault for error in error_classes()}
        self.assertEqual(set(PUBLISHED) - names, {"INTERNAL"})

    def test_numbers(self):
        """The numbers are API: none is shared, and none ever changes."""
        self.assertEqual(
            {fault.number: name for name, fault in PUBLISHED.items()},
            {
                1: "NO_SUCH_METHOD",
                2: "BAD_ARGUMENT",
                3: "BAD_REQUEST",
                8: "FAILED",
                9: "INTERNAL",
                10: "NO_SUCH_VM",
                11: "VM_EXISTS",
                12: "NO_SUCH_IMAGE",
                13: "BAD_IMAGE",
                14: "IMAGE_IN_USE",
                15: "NO_SUCH_COMMAND",
                16: "NO_SUCH_TASK",
                17: "NO_SUCH_TRANSFER",
                18: "NO_SUCH_SNAPSHOT",
                19: "SNAPSHOT_EXISTS",
                20: "INVALID_STATE",
                21: "DEADLINE_PASSED",
                22: "BUSY",
                30: "HYPERVISOR_ERROR",
                31: "HYPERVISOR_UNREACHABLE",
                32: "UNSUPPORTED",
                40: "GUEST_UNREACHABLE",
                42: "TRANSFER_FAILED",
                50: "ACCESS_DENIED",
                60: "BAD_CONFIG",
                61: "NOT_CONNECTED",
                62: "PROTOCOL_ERROR",
                63: "NOT_STORED",
            },
        )
        self.assertEqual(len({fault.number for fault in PUBLISHED.values()}), len(PUBLISHED))

    def test_families(self):
        """Every number lies in a family that the documentation names."""
        self.assertEqual([first for first, _ in FAMILIES], [1, 10, 20, 30, 40, 50, 60])
        self.assertTrue(all(1 <= fault.number < 70 for fault in PUBLISHED.values()))

    def test_the_page_lists_all(self):
        """The documentation has a row for each."""
        page = (Path(vmcontroller.__file__).parents[1] / "docs/xmlrpc-api.md").read_text("utf-8")
        for name, fault in PUBLISHED.items():
            self.assertIn(f"| {fault.number} | {name} | {fault.meaning} |\n", page)


class FaultTests(SynchronousTestCase):
    def setUp(self):
        self.door = InMemoryDoor()

    def test_expected(self):
        """An expected error is its number, its name and its own text."""
        self.door.operations.answers["start"] = InvalidState("a", "Running", "start", "PoweredOff")
        fault = self.door.fault("start", "a")
        self.assertEqual(
            (fault.faultCode, fault.faultString),
            (20, "INVALID_STATE: 'a' is Running: start needs PoweredOff"),
        )

    def test_subclasses_have_their_own(self):
        """The most special name counts."""
        self.assertEqual(expected_fault(HypervisorUnreachable("libvirt", "gone")).faultCode, 31)

    def test_an_unpublished_name_is_a_bug(self):
        """A class that forgot its number does not invent one."""
        unpublished = NoSuchVM("x")
        unpublished.fault = "WAT"
        self.assertIsNone(expected_fault(unpublished))

    def test_bugs(self):
        """An unexpected error tells the client an incident's id, and the log everything."""
        self.door.operations.answers["list_vms"] = RuntimeError("secret detail")
        fault = self.door.fault("listVMs")
        self.assertEqual(fault.faultCode, 9)
        self.assertNotIn("secret", fault.faultString)
        (logged,) = self.flushLoggedErrors(RuntimeError)
        self.assertEqual(logged.getErrorMessage(), "secret detail")
        self.assertIn("operation", logged.getTraceback())
        self.assertRegex(
            fault.faultString, r"^INTERNAL: incident [0-9a-f]{12}; the daemon's log has more"
        )

    def test_unwritable_answers_are_bugs(self):
        """None never leaves as an answer: it is logged, and the client gets a Fault."""
        self.door.operations.answers["version"] = None
        self.assertEqual(self.door.fault("version").faultCode, 9)
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)
