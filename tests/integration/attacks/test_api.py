"""What anybody can send to the API's port: bombs, floods, names that reach into objects."""

from __future__ import annotations

import http.client
import socket
from xmlrpc.client import dumps

from tests.integration.attacks.door_attacks import head
from tests.integration.attacks.scene import NEIGHBOUR, Scene

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
            chunked.sendall(head("Transfer-Encoding: chunked"))
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
