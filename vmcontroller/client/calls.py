"""Every method of a daemon, typed."""

from vmcontroller.client.about import AboutCalls
from vmcontroller.client.commands import CommandCalls
from vmcontroller.client.copies import CopyCalls
from vmcontroller.client.figures import FigureCalls
from vmcontroller.client.guests import GuestCalls
from vmcontroller.client.snapshots import SnapshotCalls
from vmcontroller.client.tasks import TaskCalls
from vmcontroller.client.vms import VmCalls


class Calls(
    VmCalls,
    SnapshotCalls,
    GuestCalls,
    CommandCalls,
    CopyCalls,
    FigureCalls,
    TaskCalls,
    AboutCalls,
):
    """Every method under its name in Python."""
