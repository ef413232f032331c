"""Copies into and out of guests, and which of the files of the host they may touch."""
