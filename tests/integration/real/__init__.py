"""The main job, on the real thing: libvirt, QEMU, and a real guest in them."""
