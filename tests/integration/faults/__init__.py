"""Cuts for real: processes killed, connections broken, disks filled, clocks set."""
