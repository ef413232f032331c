"""Another agent, from docs/protocol.md alone: no copies. python plain_agent.py ENVIRONMENT_FILE"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time

TOPIC = "/topic/vmcontroller_"
SESSION, HELD = os.urandom(8).hex(), {}  # held: stdout, stderr and result of each command


class Connection:
    def __init__(self, told, epoch):
        self.lock, self.epoch, self.greeted = threading.Lock(), epoch, False
        host, _, port = told["VMCONTROLLER_BROKER"].rpartition(":")
        login, _, passcode = told["VMCONTROLLER_CREDENTIAL"].partition(":")
        self.socket = socket.create_connection((host.strip("[]"), int(port)), 20)
        headers = {"accept-version": "1.2", "host": "/", "heart-beat": "10000,10000"}
        self.frame("CONNECT", headers | {"login": login, "passcode": passcode})

    def frame(self, command, headers, body=b""):
        lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
        with self.lock:
            self.socket.sendall(f"{command}\n{lines}\n".encode() + body + b"\0")

    def say(self, word, fields, payload=b"", where="responses", **headers):
        body = f"{word} {json.dumps(fields)}\n".encode() + payload
        headers |= {"destination": TOPIC + where, "content-length": len(body)}
        self.frame("SEND", {name.replace("_", "-"): headers[name] for name in headers}, body)

    def listen(self):
        with self.socket, self.socket.makefile("rb") as stream:
            for line in filter(bytes.strip, iter(stream.readline, b"")):  # "\n" is a heart-beat
                lines = iter(lambda: stream.readline().decode().strip("\n"), "")
                headers = dict(text.split(":", 1) for text in lines)
                body = stream.read(int(headers.get("content-length", 0)))
                if stream.read(1) != b"\0" or line == b"ERROR\n":
                    return
                if line == b"CONNECTED\n":
                    for own in ("", "." + headers["guest-id"].replace(":", "").lower()):
                        topic = f"{TOPIC}requests{own}"
                        self.frame("SUBSCRIBE", {"id": len(own), "destination": topic})
                    threading.Thread(target=self.introduce, daemon=True).start()
                else:
                    said, _, payload = body.partition(b"\n")
                    word, _, text = said.decode().partition(" ")
                    self.heard(word, json.loads(text or "{}"), payload, headers)

    def introduce(self):
        with contextlib.suppress(OSError):  # a lost connection ends this thread
            while True:
                held = {key: (len(has[0]), len(has[1])) for key, has in HELD.items()}
                about = {"descriptor": {"os": sys.platform}, "session": SESSION, "version": "plain"}
                about |= {"epoch": self.epoch, "commands": held}
                self.say("STILL_ALIVE" if self.greeted else "HELLO", about, where="connections")
                time.sleep(3)

    def heard(self, word, fields, payload, headers):
        cmd_id = headers.get("cmd-id")
        if word == "HELLO":
            self.greeted = True
            for key in list(HELD):
                self.tell(key, fields["commands"].get(key, (sys.maxsize, sys.maxsize)))
        elif word == "AINT":
            self.greeted &= fields["word"] != "STILL_ALIVE"
        elif word == "PING":
            self.say("PONG", {}, ping_id=headers["ping-id"])
        elif word == "CMD_RUN":
            self.say("CMD_STARTED", {"pid": 0}, cmd_id=cmd_id)
            if HELD.setdefault(cmd_id, new := (b"", b"", None)) is new:
                threading.Thread(target=run, args=(cmd_id, fields, payload)).start()
        elif word == "CMD_STORED":
            HELD.pop(cmd_id, None)
        else:
            self.say("AINT", {"word": word, "about": headers.get("transfer-id", "")})

    def tell(self, cmd_id, known):
        out, err, result = HELD[cmd_id]
        for stream, has, data in (("stdout", known[0], out), ("stderr", known[1], err)):
            for at in range(has, len(data), 65536):
                fields, piece = {"stream": stream, "offset": at}, data[at : at + 65536]
                self.say("CMD_OUTPUT", fields, piece, cmd_id=cmd_id)
        if result:
            self.say("CMD_RESULT", result, cmd_id=cmd_id)


def run(cmd_id, spec, stdin):
    limits = {"cwd": spec["path"] or None, "timeout": spec["timeout"] or None, "input": stdin}
    error, argv, env = "", [spec["cmd"], *spec["args"]], {**os.environ, **spec["env"]}
    try:
        done = subprocess.run(argv, env=env, capture_output=True, check=False, **limits)
        code, out, err = done.returncode, done.stdout, done.stderr
    except subprocess.TimeoutExpired as late:
        code, out, err = -9, late.stdout or b"", late.stderr or b""
    except OSError as problem:
        code, out, err, error = 127, b"", b"", f"COMMAND_NOT_FOUND: {problem}"
    out, err = out[: spec["output_limit"]], err[: spec["output_limit"]]
    result = {"finished": code >= 0, "exitCodeOrSignal": abs(code), "error": error}
    result |= {"stdout-bytes": len(out), "stderr-bytes": len(err)}
    HELD[cmd_id] = (out, err, result)
    if agent.greeted:
        agent.tell(cmd_id, (0, 0))


epoch = 0
while epoch := epoch + 1:
    with contextlib.suppress(OSError), open(sys.argv[1]) as file:
        agent = Connection(dict(line.strip().split("=", 1) for line in file), epoch)
        agent.listen()
    time.sleep(1)
