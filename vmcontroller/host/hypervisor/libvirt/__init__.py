"""QEMU and KVM virtual machines (and libvirt's own test driver) behind the hypervisor interface.

The binding `libvirt` is imported nowhere else, and this package only by the registry when
the configuration asks for it.
"""
