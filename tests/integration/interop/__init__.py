"""Other people's STOMP clients against our broker.

Each has a small program, `*_client.*`: PROGRAM PORT VERSION SCENARIO NAME. It does what
`scenarios.py` asserts of the scenario, on destinations with NAME in them, and prints one JSON
object. They are processes of their own as some of them warn at import, and others aren't Python.

What the programs must know of their libraries, as it is no fault of our broker's:

* stompest and Net::Stomp send `content-length` only when asked to; without it a NUL ends the body.
* Net::Stomp, and stompjs in 1.1, leave the escapes in headers as they are.
* Net::Stomp names a message in ACK and NACK as STOMP 1.0 does, whatever the version; its
  `send_transactional` takes the next frame, whatever it is, for its receipt.
* stomper waits for a line end after every NUL.
* stomp.py 9.0.0 loses a MESSAGE that comes behind two heart-beats while its listener is busy.
"""
