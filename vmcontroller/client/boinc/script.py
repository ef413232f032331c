"""What runs in the guest around a task, and how to read what it leaves there. Pure.

A task's streams and its end are files of the guest. So they belong to its snapshots, and a VM
that was taken back to one goes on with the task, whatever became of the command that began it.
"""

from __future__ import annotations

import enum
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from vmcontroller.client.boinc.job import Task

TICKS_PER_S: Final = 100
"""Of processor time in /proc of Linux: USER_HZ, on every architecture that matters."""

# A wrapper that was killed before it noted that it has begun the task begins it again: with -C
# (noclobber) the second finds the first's file, and leaves it alone.
_AROUND: Final = """\
end=$1 out=$2 err=$3 in=$4
shift 4
set -C
echo "$$ $(cat /proc/sys/kernel/random/boot_id)" 2> /dev/null > "$end.runs" || exit 125
set +C
"$@" > "$out" 2> "$err" < "$in"
code=$?
{ echo "$code"; times; } > "$end.part" && mv "$end.part" "$end"
exit "$code"
"""

_PROBE: Final = """\
if [ -f "$1" ]; then
    echo ended
    cat "$1"
elif [ -f "$1.runs" ] && read -r pid boot < "$1.runs" &&
        [ "$boot" = "$(cat /proc/sys/kernel/random/boot_id)" ] && kill -0 "$pid" 2> /dev/null; then
    echo "running $pid"
    cat /proc/[0-9]*/stat 2> /dev/null
else
    echo nothing
fi
if [ -n "$2" ] && [ -f "$2" ]; then
    echo fraction
    tail -c 64 "$2"
fi
exit 0
"""


class TaskState(enum.StrEnum):
    """What a look at the guest says of a task."""

    RUNNING = "running"
    ENDED = "ended"
    NOTHING = "nothing"
    """It neither runs nor has ended: the guest was switched off, or went back to before it."""
    UNKNOWN = "unknown"
    """The guest did not answer just now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSeen:
    """A task as it is just now."""

    state: TaskState
    exit_code: int = 0
    cpu_s: float = 0.0
    fraction_done: float = -1.0
    """Below 0: not known."""
    timed_out: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the files of one task are in the guest."""

    directory: str
    number: int

    def file(self, name: str) -> str:
        """Return the path of a file that the task knows by this name."""
        return f"{self.directory}/{name}"

    @property
    def end(self) -> str:
        """The file that tells how the task has ended."""
        return self.file(f".boinc-{self.number}.end")

    def stream(self, name: str, filename: str) -> str:
        """Return where a stream goes: to the file that the job names, or one of ours."""
        return self.file(filename or f".boinc-{self.number}.{name}")


def command(
    task: Task, place: Place, *, more: Sequence[str] = (), threads: int = 1
) -> tuple[list[str], Mapping[str, str]]:
    """Return the arguments for `sh` that run the task, and its environment.

    `more` are the arguments that the wrapper itself was given.
    """
    application = task.application
    if task.copy_app:
        application = place.file(application.removeprefix("./"))
    elif "/" in application and not application.startswith("/"):
        application = place.file(application)

    def filled(text: str) -> str:
        text = text.replace("$NTHREADS", str(threads)).replace("$PWD", place.directory)
        return _RESOLVE.sub(r"\1", text)

    words = [application, *(filled(word) for word in task.arguments)]
    if task.append_cmdline_args:
        words += more
    stdin = place.file(task.stdin_filename) if task.stdin_filename else "/dev/null"
    streams = [
        place.end,
        place.stream("stdout", task.stdout_filename),
        place.stream("stderr", task.stderr_filename),
        stdin,
    ]
    environment = {name: filled(value) for name, value in task.environment}
    return ["-c", _AROUND, "boinc-task", *streams, *words], environment


_RESOLVE: Final = re.compile(r"boinc_resolve\(([^()]*)\)")


def probe(task: Task, place: Place) -> list[str]:
    """Return the arguments for `sh` that look at the task."""
    fraction = place.file(task.fraction_done_filename) if task.fraction_done_filename else ""
    return ["-c", _PROBE, "boinc-probe", place.end, fraction]


def seen(output: str) -> TaskSeen:
    """Return what `probe` has printed; what makes no sense is UNKNOWN: a guest may say anything."""
    text, _, fraction = output.partition("fraction\n")
    first, _, rest = text.partition("\n")
    done = _fraction(fraction)
    if first == TaskState.NOTHING:
        return TaskSeen(state=TaskState.NOTHING)
    if first == TaskState.ENDED:
        code, _, times = rest.partition("\n")
        if re.fullmatch(r"[0-9]{1,3}", code):
            return TaskSeen(
                state=TaskState.ENDED, exit_code=int(code), cpu_s=_times(times), fraction_done=1.0
            )
    running = re.fullmatch(r"running ([0-9]{1,9})", first)
    if running is not None:
        cpu_s = _session_cpu_s(rest, int(running.group(1)))
        return TaskSeen(state=TaskState.RUNNING, cpu_s=cpu_s, fraction_done=done)
    return TaskSeen(state=TaskState.UNKNOWN)


def _times(text: str) -> float:
    """Return the sum of what the shell's `times` has printed, such as `0m1.25s`."""
    found = re.findall(r"([0-9]{1,9})m([0-9]{1,9}(?:\.[0-9]{1,9})?)s", text)
    return math.fsum(60 * int(minutes) + float(seconds) for minutes, seconds in found[:4])


def _session_cpu_s(stats: str, leader: int) -> float:
    """Return the processor time of a session, with what its processes have waited for."""
    ticks = 0
    for line in stats.splitlines():
        fields = line.rpartition(")")[2].split()
        try:
            if int(fields[3]) == leader:
                ticks += sum(int(each) for each in fields[11:15])
        except (ValueError, IndexError):
            continue
    return max(0.0, ticks / TICKS_PER_S)


def _fraction(text: str) -> float:
    """Return the last number; -1 when there is none."""
    for word in reversed(text.split()):
        try:
            value = float(word)
        except ValueError:
            continue
        if math.isfinite(value):
            return min(1.0, max(0.0, value))
    return -1.0
