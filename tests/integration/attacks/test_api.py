"""What anybody can send to the API's port: bombs, floods, names that reach into objects."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
from pathlib import Path
from xmlrpc.client import dumps

import psutil

from tests.integration.attacks.scene import NEIGHBOUR, Scene
from tests.integration.daemon import Daemon, until

MIB = 1 << 20


class ApiTests(Scene):
    """The daemon's own door, with requests that no client writes."""

    def post(self, body: bytes, **headers: str) -> tuple[int, bytes]:
        """Send a body; return the status and what is answered."""
        host, port = self.daemon.url.split("/")[2].split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=60)
        self.addCleanup(connection.close)
        try:
            connection.request("POST", "/RPC2", body, {"Content-Type": "text/xml"} | headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (BrokenPipeError, ConnectionResetError):
            return 413, b""  # refused while it was still being sent

    def test_entity_bombs(self) -> None:
        """Attack: XML entity bombs. No document type is taken at all."""
        before_kib, noise_kib = self.rss_kib(), self.noise_kib()
        nested = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
        for kind in (
            f'<!DOCTYPE a [<!ENTITY e0 "boom">{nested}]>',
            f'<!DOCTYPE a [<!ENTITY e9 "{"x" * 10_000}">]>',
            '<!DOCTYPE a [<!ENTITY e9 SYSTEM "file:///etc/passwd">]>',
            '<!DOCTYPE a SYSTEM "http://127.0.0.1:1/x.dtd">',
            "<!ENTITY e9 'x'>",
        ):
            call = "<methodCall><methodName>ping</methodName><params><param><value><string>"
            body = f"<?xml version='1.0'?>{kind}{call}&e9;</string></value></param></params>"
            status, answer = self.post(f"{body}</methodCall>".encode())
            self.assertIn(b"document type", answer, status)
        self.bounded(before_kib, noise_kib)

    def test_oversized_requests(self) -> None:
        """Attack: oversized requests, announced, chunked, or of many small values."""
        before_kib, noise_kib = self.rss_kib(), self.noise_kib()
        status, _ = self.post(b"", **{"Content-Length": str(10**12)})
        self.assertEqual(status, 413)
        status, _ = self.post(bytes(64 * MIB))
        self.assertEqual(status, 413)
        host, port = self.daemon.url.split("/")[2].split(":")
        with socket.create_connection((host, int(port)), 60) as chunked:
            chunked.sendall(b"POST /RPC2 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
            try:
                for _ in range(64):
                    chunked.sendall(b"100000\r\n" + bytes(MIB) + b"\r\n")
                answer = chunked.recv(100)
            except ConnectionError:
                answer = b"HTTP/1.1 413"
            self.assertIn(b"413", answer)
        self.bounded(before_kib, noise_kib)

    def test_method_names(self) -> None:
        """Attack: method-name traversal. Only names of the published table are methods."""
        published = set(self.api.system.listMethods())
        for name in (
            *("__class__", "operations.__init__.__globals__", "start.__self__", "system"),
            *("system.__dict__", "os.system", "stop", "_prepare", "", ".", "ping\0", "PING"),
            *("door", "site", "getattr", "render_POST", "../RPC2", "ping.ping", "x" * 100_000),
        ):
            self.assertNotIn(name, published)
            _, answer = self.post(dumps(("x",), name).replace("\0", "&#0;").encode())
            self.assertNotIn(b"Traceback", answer)
            self.assertTrue(b"<fault>" in answer, answer[:200])

    def test_reading_the_hosts_files(self) -> None:
        """Attack: read the host's files through cpFileToVM. Nothing outside the roots is read."""
        link = self.daemon.exchange / "way-out"
        link.symlink_to("/etc/passwd")
        self.addCleanup(link.unlink)
        for path in ("/etc/passwd", "../credentials.json", "way-out", "/proc/self/environ", "/"):
            fault = self.fault(self.api.cpFileToVM, NEIGHBOUR, path, "stolen")
            self.assertIn("ACCESS_DENIED", fault, path)


class ClosedDoorTests(Scene):
    """Attack: an unauthenticated method left exposed."""

    def test_no_address_without_consent(self) -> None:
        """Without `anonymous: true` there is no port to call at all, and the log says so."""
        closed = Daemon("local")
        self.addCleanup(closed.stop)
        text = closed.config.read_text().replace(", anonymous: true", "")
        closed.config.write_text(text)
        command = [str(Path(sys.executable).with_name("vmcontroller-host")), "-c"]
        with closed.log.open("wb") as log:
            process = subprocess.Popen([*command, str(closed.config)], stderr=log)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        until(lambda: "XML-RPC listens nowhere" in closed.log.read_text(), "the log says so")
        for port in until(lambda: _listening(process.pid), "the broker listens"):
            with socket.create_connection(("127.0.0.1", port), 10) as door:
                door.sendall(b"POST /RPC2 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
                self.assertTrue(door.recv(1000).startswith(b"ERROR\n"), "it speaks STOMP only")
        process.terminate()
        self.assertEqual(process.wait(), 0)
        self.assertNotIn("ready: XML-RPC", closed.log.read_text())


def _listening(pid: int) -> list[int]:
    return [
        connection.laddr.port
        for connection in psutil.Process(pid).net_connections()
        if connection.status == psutil.CONN_LISTEN
    ]
