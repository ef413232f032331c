"""Copying one file over words: the sending and the receiving half that host and guest share.

Nothing here knows who asks for a copy or which paths are allowed; that is for the two sides.
"""
