"""From what createVM was asked for to a machine and the files made for it; all or nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

InThread = Callable[..., Awaitable[Any]]
"""Runs blocking work in a thread: `await in_thread(function, *arguments)`."""
