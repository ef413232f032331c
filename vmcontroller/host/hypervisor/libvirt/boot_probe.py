"""A boot sector that does what a kernel does before it can say a word. Bytes, no I/O.

It goes from real mode through page tables to 64-bit mode, asks CPUID, reads and writes a
model specific register, turns a loop a hundred million times and waits for one interrupt of
the timer; then it leaves QEMU by its debug exit port. The loop tells a processor from an
interpreter: 0.1 s on the first, 0.3 s under TCG, two minutes where KVM interprets the guest's
kernel mode (measured; see docs/decisions/0002-kvm-or-tcg.md).
"""

from __future__ import annotations

EXIT_PORT = 0x501
EXIT_STATUS = 0x2A << 1 | 1
"""QEMU's isa-debug-exit makes this of the 0x2a that the sector writes."""

# Loaded at 0x7c00. Tables: PML4 0x1000, PDPT 0x2000, one 2 MiB page 0x3000, IDT 0x4000.
_CODE = (
    ("fa fc", "cli; cld"),
    ("31 c0 8e d8 8e c0 8e d0", "ax = 0; ds = es = ss = ax"),
    ("bc 00 7c", "sp = 0x7c00"),
    ("bf 00 10 b9 00 18 f3 ab", "clear 0x1000..0x4000"),
    ("c7 06 00 10 03 20", "PML4[0] = 0x2000, present, writable"),
    ("c7 06 00 20 03 30", "PDPT[0] = 0x3000, present, writable"),
    ("c7 06 00 30 83 00", "PD[0] = 0, present, writable, 2 MiB"),
    ("c7 06 00 42 a7 7c", "IDT[0x20] = 0008:tick,"),
    ("66 c7 06 02 42 08 00 00 8e", "  64-bit interrupt gate"),
    ("c7 06 06 42 00 00 66 c7 06 08 42 00 00 00 00", "  (upper halves)"),
    ("b0 11 e6 20 b0 20 e6 21", "PIC: vectors from 0x20"),
    ("b0 04 e6 21 b0 01 e6 21 b0 fe e6 21", "PIC: cascade, 8086 mode, only the timer"),
    ("66 b8 00 10 00 00 0f 22 d8", "cr3 = 0x1000"),
    ("66 b8 20 00 00 00 0f 22 e0", "cr4 = PAE"),
    ("66 b9 80 00 00 c0 0f 32 0d 00 01 0f 30", "EFER |= LME"),
    ("0f 01 16 c8 7c", "lgdt gdtr"),
    ("0f 20 c0 66 0d 01 00 00 80 0f 22 c0", "cr0 |= PG | PE"),
    ("ea 8e 7c 08 00", "jmp 0008:long"),
    ("0f 01 1c 25 ce 7c 00 00", "long: lidt idtr"),
    ("31 c0 0f a2", "eax = 0; cpuid"),
    ("b9 00 e1 f5 05", "ecx = 100,000,000"),
    ("ff c9 75 fc", "until --ecx == 0"),
    ("fb", "sti"),
    ("f4 eb fd", "wait: hlt; jmp wait"),
    ("b0 2a 66 ba 01 05 ee", "tick: out 0x501, 0x2a"),
    ("f4 eb fd", "hlt, for ever"),
)
_GDT_AT = 0xB8
_GDT = (
    "00 00 00 00 00 00 00 00"  # null
    "00 00 00 00 00 9a 20 00"  # 0008: 64-bit code
    "0f 00 b8 7c 00 00"  # gdtr: 16 bytes at 0x7cb8
    "ff 0f 00 40 00 00 00 00 00 00"  # idtr: 4096 bytes at 0x4000
)


def boot_sector() -> bytes:
    """Return the 512 bytes of the disk to boot."""
    code = b"".join(bytes.fromhex(octets) for octets, _ in _CODE)
    body = code.ljust(_GDT_AT, b"\x00") + bytes.fromhex(_GDT)
    return body.ljust(510, b"\x00") + b"\x55\xaa"
