"""The peer of file copies: scp of OpenSSH into the same guest, as anybody would use it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.integration.daemon import Daemon

_PLACE = "/run/bench-sshd"
_START = f"""
set -e
mkdir -p /run/sshd {_PLACE}
ssh-keygen -q -t ed25519 -N '' -f {_PLACE}/host-key
printf '%s\\n' "$1" >{_PLACE}/authorized
/usr/sbin/sshd -f /dev/null -h {_PLACE}/host-key -o AuthorizedKeysFile={_PLACE}/authorized \
    -o UsePAM=no -o 'Subsystem=sftp /usr/lib/openssh/sftp-server' >/dev/null 2>&1
ip -4 -o address show scope global | sed 's|.* inet ||; s|/.*||' | head -n 1
"""


class SecureCopy:
    """scp between this host and one guest, with the ciphers that both choose by themselves."""

    def __init__(self, daemon: Daemon, vm: str, place: Path) -> None:
        """Start sshd in the guest, through the daemon, with a key that is made in `place`."""
        key = place / "ssh-key"
        generate = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key]
        subprocess.run(generate, check=True)
        public = key.with_suffix(".pub").read_text().strip()
        result = daemon.run(vm, "/bin/sh", "-c", _START, "sh", public)
        assert result["exitCodeOrSignal"] == 0, result
        self._guest = f"root@{result['out'].strip()}"
        self._scp = ["scp", "-q", "-B", "-i", key, "-F", "/dev/null"]
        for option in ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null"):
            self._scp += ["-o", option]
        self._scp += ["-o", "LogLevel=ERROR"]

    def write(self, source: Path, target: str) -> None:
        """Copy a file into the guest."""
        subprocess.run([*self._scp, source, f"{self._guest}:{target}"], check=True)

    def read(self, source: str, target: Path) -> None:
        """Copy a file out of the guest."""
        subprocess.run([*self._scp, f"{self._guest}:{source}", target], check=True)
