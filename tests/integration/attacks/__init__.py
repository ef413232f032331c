"""A guest that has taken over its own VM can hurt nobody but itself: each attack, for real.

`scene` has a daemon with two local VMs; the agent of one is put aside, and a raw socket speaks to
the broker with the credential of that VM instead. docs/security.md names the test of each attack.
"""
