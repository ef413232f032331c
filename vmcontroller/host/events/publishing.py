"""The daemon's log of events, with its copy on the broker where somebody may hear that."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from socket import gethostname

from twisted.internet.interfaces import IReactorTime

from vmcontroller.common.config import BrokerConfig
from vmcontroller.common.destinations import EVENTS
from vmcontroller.host.events.events import Events

_HEADERS = {"content-type": "application/json"}


def event_log_of(
    config: BrokerConfig,
    clock: IReactorTime,
    send: Callable[[str, bytes, Mapping[str, str]], None],
) -> Events:
    """Make the log; `send` gives a message to the broker, as of Conversation.

    At the embedded broker nobody can hear the topic unless monitors have a login.
    """
    is_heard = config.is_external or config.monitor_username
    return Events(
        clock=clock,
        wall_s=time.time,
        publish=(lambda event: send(EVENTS, event, _HEADERS)) if is_heard else None,
        host=gethostname(),
    )
