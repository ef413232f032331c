"""STOMP 1.0 to 1.2: frames, parser and client session without I/O, and the Twisted ends."""
