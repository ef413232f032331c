"""What BOINC's client says of a job, in `init_data.xml`. Pure.

BOINC's own parser looks for tags it knows and takes no offence at the rest, and so does this:
the preferences of a project are in the file as somebody has typed them, and need not be XML.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

LARGEST_BYTES: Final = 2**20
SYSTEM_V_KEYS: Final = -1
"""`shm_key` of clients since version 6: the channels are in `boinc_mmap_file`."""

_FOREIGN: Final = re.compile(
    r"<(project_preferences|global_preferences|host_info|proxy_info)>.*?</\1>", re.DOTALL
)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class InitData:
    """What the wrapper uses of it."""

    result_name: str = ""
    wu_name: str = ""
    client_pid: int = 0
    """0: an old client, which sends heartbeats instead."""
    shm_key: int = SYSTEM_V_KEYS
    ncpus: float = 1.0
    checkpoint_period_s: float = 300.0
    wu_cpu_time_s: float = 0.0
    fraction_done_start: float = 0.0
    fraction_done_end: float = 1.0


def parse_init_data(data: bytes) -> InitData | None:
    """Return what it says; None if this is not the file of a client: then nobody listens."""
    text = data[:LARGEST_BYTES].decode("utf-8", "replace")
    if "<app_init_data>" not in text:
        return None
    text = _FOREIGN.sub("", text)
    return InitData(
        result_name=_value(text, "result_name", str, ""),
        wu_name=_value(text, "wu_name", str, ""),
        client_pid=max(0, _value(text, "client_pid", int, 0)),
        shm_key=_value(text, "shm_key", int, SYSTEM_V_KEYS),
        ncpus=max(1.0, _value(text, "ncpus", _finite, 1.0)),
        checkpoint_period_s=_value(text, "checkpoint_period", _finite, 0.0) or 300.0,
        wu_cpu_time_s=max(0.0, _value(text, "wu_cpu_time", _finite, 0.0)),
        fraction_done_start=_value(text, "fraction_done_start", _finite, 0.0),
        fraction_done_end=_value(text, "fraction_done_end", _finite, 0.0) or 1.0,
    )


def _value(text: str, tag: str, kind: Callable[[str], _T], default: _T) -> _T:
    found = re.search(rf"<{tag}>([^<]*)</{tag}>", text)
    if found is None:
        return default
    try:
        return kind(found.group(1).strip()[:1000])
    except ValueError:
        return default


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value
