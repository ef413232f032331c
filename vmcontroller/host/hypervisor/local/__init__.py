"""The backend `local`: each VM is an agent process of its own on this machine.

It needs no hypervisor and no rights, and gives no isolation: for trying things out, and for
tests of scale and faults. Its image is a directory to start from, or '' for an empty one.
"""
