"""A guest in memory that has files, and understands the scripts of copies by what they are for."""

import hashlib
import threading

from tests.client.fakes import AnsweringCalls
from vmcontroller.client import guest_shell
from vmcontroller.client.errors import fault_of

AWAY = fault_of(40, "GUEST_UNREACHABLE: 'vm': its agent is not connected")
MIB = 2**20


class FileGuest(AnsweringCalls):
    """Runs PLACE, APPEND, FINISH, LOOK, READ and SUM on a dictionary of files."""

    def __init__(self, **files):
        super().__init__(
            {
                "listCmds": [],
                "runCmd": self.run_cmd_there,
                "sendCmdStdin": self.take,
                "closeCmdStdin": self.close_stdin,
                "getCmdOutput": self.output,
                "waitCmd": self.wait,
                "killCmd": True,
                "forgetCmd": True,
            }
        )
        self.files = {f"/{name}": content for name, content in files.items()}
        self.commands = {}
        self.away = []
        """What the next commands raise instead of running; None: nothing."""
        self.breaks_at = None
        """After so many bytes of stdin a command is lost, once."""
        self.cuts_at = 2**60
        """So much of what READ prints is kept."""
        self.odd = {}
        """Scripts that answer what a test wants."""
        self.lock = threading.RLock()

    def run_cmd_there(self, _vm, _cmd, words, _env, _path, _file, options):
        error = self.away.pop(0) if self.away else None
        if error is not None:
            raise error
        cmd_id = f"id-{len(self.commands)}"
        self.commands[cmd_id] = {
            "script": words[1],
            "args": words[3:],
            "stdin": b"",
            "open": bool(options.get("stdinOpen")),
            "lost": False,
        }
        return cmd_id

    def take(self, cmd_id, data):
        with self.lock:
            command = self.commands[cmd_id]
            command["stdin"] += data
            if self.breaks_at is not None and len(command["stdin"]) > self.breaks_at:
                command |= {"open": False, "lost": True}
                part = command["args"][0]
                taken = command["stdin"][: self.breaks_at]
                self.files[part] = self.files.get(part, b"") + taken
                self.breaks_at = None
            if command["lost"]:
                raise fault_of(2, "BAD_ARGUMENT: cmdId: it has ended")
            return len(command["stdin"])

    def close_stdin(self, cmd_id):
        self.commands[cmd_id]["open"] = False
        return True

    def wait(self, cmd_id, _timeout):
        command = self.commands[cmd_id]
        if command["open"]:
            return {"state": "running"}
        out, _, code = self.ended(command)
        return {
            "cmd-id": cmd_id,
            "state": "lost" if command["lost"] else "ended",
            "finished": not command["lost"],
            "exitCodeOrSignal": code,
            "error": "AGENT_RESTARTED: it is gone" if command["lost"] else "",
            "truncated": len(out) > self.kept_of(command),
        }

    def output(self, cmd_id, stream, offset, length, _timeout):
        command = self.commands[cmd_id]
        while command["open"]:  # the feeding thread closes it
            threading.Event().wait(0.001)
        out, err, _ = self.ended(command)
        return (out[: self.kept_of(command)] if stream == "stdout" else err)[
            offset : offset + length
        ]

    def kept_of(self, command):
        return self.cuts_at if command["script"] == guest_shell.READ else 2**60

    def ended(self, command):
        """Return what a command has printed, and its exit code; it runs once."""
        with self.lock:
            if "ended" not in command:
                command["ended"] = (b"", b"", -1) if command["lost"] else self.ran(command)
            return command["ended"]

    def ran(self, command):
        script, args = command["script"], command["args"]
        if script in self.odd:
            return self.odd[script]
        works = {
            guest_shell.PLACE: self.place,
            guest_shell.APPEND: self.append,
            guest_shell.FINISH: self.finish,
            guest_shell.LOOK: self.look,
            guest_shell.READ: self.read,
            guest_shell.SUM: self.sum,
            guest_shell.REMOVE: self.remove,
        }
        return works[script](*args, **({"data": command["stdin"]} if command["stdin"] else {}))

    def place(self, path, _name, key):
        part = f"/{key}.part"
        return f"{len(self.files.get(part, b''))}\n{part}\n{path}".encode(), b"", 0

    def append(self, part, offset, data=b""):
        if len(self.files.get(part, b"")) != int(offset):
            return b"", b"CHANGED: odd", 99
        self.files[part] = self.files.get(part, b"") + data
        return b"", b"", 0

    def finish(self, part, target, digest, _mode, _mtime):
        content = self.files.pop(part, b"")
        if hashlib.sha256(content).hexdigest() != digest:
            return b"", b"DIGEST_MISMATCH: " + target.encode(), 99
        self.files[target] = content
        return b"", b"", 0

    def look(self, path):
        if path not in self.files:
            return b"", f"NO_SUCH_FILE: {path}".encode(), 99
        return f"f\n{len(self.files[path])} 1000000000 640\n".encode(), b"", 0

    def read(self, path, skip, count):
        return self.files[path][int(skip) * MIB : (int(skip) + int(count)) * MIB], b"", 0

    def sum(self, path):
        return hashlib.sha256(self.files[path]).hexdigest().encode() + b"\n", b"", 0

    def remove(self, path):
        self.files.pop(path, None)
        return b"", b"", 0
