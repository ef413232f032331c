"""Logging of the daemons: one line per event on a stream. Not what is logged, nor where else."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TextIO

from twisted.logger import (
    FileLogObserver,
    FilteringLogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    formatEvent,
    globalLogBeginner,
)

_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))} | {
    0x09: "\\t",
    0x0A: "\\n",
    0x0D: "\\r",
    0x2028: "\\u2028",
    0x2029: "\\u2029",
}


def start_logging(stream: TextIO, *, debug: bool) -> None:
    """Write every event from `info` on (`debug`: all) to `stream`; call it once.

    Twisted's own chatter below `warn` is left out unless `debug`.
    """
    levels = LogLevelFilterPredicate(LogLevel.debug if debug else LogLevel.info)
    if not debug:
        levels.setLogLevelForNamespace("twisted", LogLevel.warn)
        levels.setLogLevelForNamespace("log_legacy", LogLevel.warn)
    globalLogBeginner.beginLoggingTo(
        [FilteringLogObserver(FileLogObserver(stream, line_of), [levels])], redirectStandardIO=False
    )


def line_of(event: LogEvent) -> str:
    """Return one line: time (ISO, UTC, milliseconds), level, text; a failure's traceback too.

    Control characters and line breaks are escaped: what guests and clients send reaches the log.
    """
    time = datetime.fromtimestamp(event.get("log_time", 0), UTC)
    level = event.get("log_level", LogLevel.info)
    text = formatEvent(event)
    if "log_failure" in event:
        text += "\n" + event["log_failure"].getTraceback().rstrip()
    stamp = time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    escaped = text.translate(_ESCAPES).encode("utf-8", "backslashreplace").decode()
    return f"{stamp} {level.name.upper():<8} {escaped}\n"
