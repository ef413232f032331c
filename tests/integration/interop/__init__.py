"""Other people's STOMP clients against our broker.

Each has a small program, `*_client.*`: PROGRAM PORT VERSION SCENARIO NAME. It does what
`scenarios.py` says of the scenario, on destinations with NAME in them, and prints one JSON object.
They are processes of their own as some of them warn at import, and others aren't Python.
"""
