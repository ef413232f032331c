"""The daemon of one hypervisor host."""
