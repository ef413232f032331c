"""A bare Twisted XML-RPC server that echoes: python -m tests.benchmarks.bare_xmlrpc.

It prints its port, and serves until it is killed.
"""

from __future__ import annotations

from twisted.internet import reactor
from twisted.web.server import Site
from twisted.web.xmlrpc import XMLRPC


class Echo(XMLRPC):
    """Answers what it is told."""

    def xmlrpc_getState(self, vm: str) -> str:
        """Return the argument."""
        return vm


def main() -> None:
    """Serve on loopback."""
    site = Site(Echo())
    site.noisy = False
    site.log = lambda _request: None
    port = reactor.listenTCP(0, site, interface="127.0.0.1")
    print(port.getHost().port, flush=True)
    reactor.run()


if __name__ == "__main__":
    main()
