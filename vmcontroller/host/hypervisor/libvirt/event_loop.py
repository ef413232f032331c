"""libvirt's event loop, once per process, in a thread that lives as long as the process.

Without it neither events nor keep-alive answers come; libvirt wants it registered before
the first connection is opened.
"""

from __future__ import annotations

import threading

import libvirt
from twisted.logger import Logger

_log = Logger()
_lock = threading.Lock()
_threads: list[threading.Thread] = []


def ensure_running() -> None:
    """Start the loop if it doesn't run, and keep libvirt from writing errors to stderr."""
    with _lock:
        if _threads:
            return
        libvirt.registerErrorHandler(_ignore, None)
        libvirt.virEventRegisterDefaultImpl()
        thread = threading.Thread(target=_run, name="libvirt-events", daemon=True)
        _threads.append(thread)
        thread.start()


def _ignore(_context: object, _error: object) -> None:
    """Every error is raised too; the callers tell of it."""


def _run() -> None:
    pause = threading.Event()
    while True:
        try:
            libvirt.virEventRunDefaultImpl()
        except libvirt.libvirtError as error:
            _log.error("libvirt's event loop: {error}", error=str(error))
            pause.wait(1.0)  # in this thread only: an error that stays shall not spin
