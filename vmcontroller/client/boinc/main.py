"""`vmcontroller-boinc`: what BOINC's client starts in a slot directory."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NoReturn

import click

from vmcontroller.client import Client
from vmcontroller.client.boinc import client_link
from vmcontroller.client.boinc.calling import Calling
from vmcontroller.client.boinc.client_link import ClientLink
from vmcontroller.client.boinc.deciding import Finish, Later, Leave
from vmcontroller.client.boinc.doing import Doing
from vmcontroller.client.boinc.init_data import InitData
from vmcontroller.client.boinc.job import BadJob, Job, parse_job
from vmcontroller.client.boinc.looking import Looking
from vmcontroller.client.boinc.messages import ExitCode
from vmcontroller.client.boinc.orphans import remove_orphans
from vmcontroller.client.boinc.progress import Ending, Progress, fresh, key_of
from vmcontroller.client.boinc.safe_xml import LARGEST_BYTES
from vmcontroller.client.boinc.slot import Slot, into_stderr_file, say
from vmcontroller.client.boinc.tasks import Tasks
from vmcontroller.client.boinc.wrapper import Parts, Wrapper

LONGEST_OFFSET_S: Final = 600.0
"""So that the VMs of many jobs don't take their snapshots at once."""


class Program:
    """The wrapper of one slot."""

    def __init__(self, slot: Slot, told: InitData | None, link: ClientLink) -> None:
        self._slot = slot
        self._told = told or InitData()
        self._link = link

    def run(self, client: Client, job_file: str, **options: Any) -> int:
        """Do the job, or go on with it; return the exit code of the wrapper."""
        try:
            data = self._slot.read(job_file, LARGEST_BYTES)
            job = parse_job(data)
        except (OSError, BadJob) as error:
            return self._slot.finish(Ending(code=ExitCode.INIT_FAILURE, message=str(error)))
        for note in job.notes:
            say(f"job file: {note}")
        key = key_of(self._told.result_name or str(self._slot.path), data)
        found = self._slot.progress()
        if found is not None and found.key != key:
            say("what is left of another job in this slot is removed")
            found = replace(found, ending=found.ending or Ending(code=ExitCode.OK))
            end = self._wrapper(client, job, found, **options).run()
            if isinstance(end, Leave):
                return self._slot.leave(end.later)
            found = None
        if found is None:
            remove_orphans(Calling(client), self._slot.path, say)
        progress = found or fresh(key=key, name=job.vm.name, directory=job.vm.directory)
        end = self._wrapper(client, job, progress, **options).run()
        self._link.stop()
        if isinstance(end, Finish):
            return self._slot.finish(end.ending)
        return self._slot.leave(end.later)

    def _wrapper(
        self,
        client: Client,
        job: Job,
        progress: Progress,
        *,
        more: tuple[str, ...],
        threads: int,
        offset_s: float,
    ) -> Wrapper:
        calling = Calling(client, lambda: self._link.control.ends)
        tasks = Tasks(
            calling,
            job,
            slot=self._slot.path,
            say=say,
            more=more,
            threads=threads or int(self._told.ncpus),
        )
        keep = self._slot.keep
        doing = Doing(calling, job, tasks, slot=self._slot.path, keep=keep, say=say)
        parts = Parts(
            job=job,
            looking=Looking(client, job),
            doing=doing,
            link=self._link,
            keep=keep,
            say=say,
        )
        period_s = max(job.checkpoint_period_s, self._told.checkpoint_period_s)
        return Wrapper(parts, progress, period_s=period_s, offset_s=offset_s)


def work(slot: Slot, client: Client, job_file: str, **options: Any) -> int:
    """Run the wrapper in a slot; return its exit code."""
    lock = slot.lock()
    if lock is None:
        return slot.leave(Later(600, "another wrapper runs in this slot"))
    told = slot.told()
    link = client_link.attached(slot.path, told)
    if link is None:
        say("no client of BOINC: the job runs by itself")
        link = client_link.alone()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: link.ask_to_quit())
    threading.Thread(target=link.run, daemon=True, name="client").start()
    try:
        with client:
            return Program(slot, told, link).run(client, job_file, **options)
    finally:
        os.close(lock)


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--url", default="", help="Where the daemon is; as of the command vmcontroller.")
@click.option("--token-file", type=click.Path(path_type=Path), help="A file with the token.")
@click.option("--ca", default="", help="Certificates (PEM) that the daemon's must descend from.")
@click.option("--job", "job_file", default="job.xml", show_default=True, help="The job file.")
@click.option("--nthreads", type=click.IntRange(0, 512), default=0, help="For $NTHREADS.")
@click.option(
    "--checkpoint-offset",
    type=click.FloatRange(0, LONGEST_OFFSET_S),
    help="Seconds; how much later the first checkpoint is. Random, if not given.",
)
@click.option("--stderr/--no-stderr", default=False, help="Write to stderr, not to stderr.txt.")
@click.argument("more", nargs=-1, type=click.UNPROCESSED)
def main(
    *,
    url: str,
    token_file: Path | None,
    ca: str,
    job_file: str,
    nthreads: int,
    checkpoint_offset: float | None,
    stderr: bool,
    more: tuple[str, ...],
) -> NoReturn:
    """Run the BOINC job of this directory in a VM of VMController.

    MORE is handed on to tasks with <append_cmdline_args/>. See docs/boinc.md.
    """
    slot = Path.cwd()
    if not stderr:
        into_stderr_file(slot)
    offset_s = checkpoint_offset
    if offset_s is None:
        offset_s = random.SystemRandom().uniform(0, LONGEST_OFFSET_S)
    try:
        token = token_file.read_text("utf-8").strip() if token_file else ""
        client = Client(url, token=token, ca=ca, reason="BOINC job")
    except (OSError, ValueError) as error:
        sys.exit(Slot(slot).leave(Later(3600, str(error))))
    options = {"more": more, "threads": nthreads, "offset_s": offset_s}
    sys.exit(work(Slot(slot), client, job_file, **options))
