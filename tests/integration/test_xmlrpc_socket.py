"""The real door on a real port, called by the standard library's client as old clients do."""

import http.client
import socket
import time
from xmlrpc.client import Binary, Fault, ProtocolError, ServerProxy, dumps

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import connectionDone
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.host.xmlrpc.recording import OpenGate, RecordingOperations
from vmcontroller.common.errors import GuestUnreachable, NoSuchVM
from vmcontroller.host.xmlrpc.dispatch import Dispatcher
from vmcontroller.host.xmlrpc.limits import BODY_MAX_BYTES, BoundedChannel
from vmcontroller.host.xmlrpc.resource import Calls, site

MIB = 2**20


class SocketCase(TestCase):
    timeout = 60

    async def setUp(self):
        self.addCleanup(socket.setdefaulttimeout, socket.getdefaulttimeout())
        socket.setdefaulttimeout(20)  # of the clients: no thread of theirs stays behind
        self.operations = RecordingOperations()
        endpoint = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
        door = site(
            Dispatcher(self.operations), reactor, OpenGate(), connections=100, calls=Calls(100)
        )
        door.protocol = self.counted_channel
        self.open_channels = 0
        listening = await endpoint.listen(door)
        self.addCleanup(listening.stopListening)
        self.port = listening.getHost().port

    def counted_channel(self):
        """Make a connection that is known to be open until it has ended."""
        test = self

        class Channel(BoundedChannel):
            def connectionMade(self):
                test.open_channels += 1
                super().connectionMade()

            def connectionLost(self, reason=connectionDone):
                super().connectionLost(reason)
                test.open_channels -= 1

        return Channel()

    async def tearDown(self):
        while self.open_channels:
            await deferLater(reactor, 0.01)

    async def with_client(self, work):
        """Run work(client) in a thread, with a client that has a socket of its own."""

        def run():
            with ServerProxy(f"http://127.0.0.1:{self.port}") as client:
                return work(client)

        return await deferToThread(run)

    async def fault_of(self, work):
        """Run work(client), which must fail; return the Fault."""

        def run(client):
            try:
                answer = work(client)
            except Fault as fault:
                return fault
            raise AssertionError(f"it answered {answer!r:.100}")

        return await self.with_client(run)


class OldClientTests(SocketCase):
    async def test_the_wrapper(self):
        """The calls of the original's only real client, in its order, with what it relies on."""
        answers = self.operations.answers
        answers["list_vms"] = ["other"]
        answers["create_vm"] = [True, "boinc"]
        answers["get_state"] = "PoweredOff"
        answers["list_running_vms"] = ["boinc"]
        answers["cp_file_to_vm"] = answers["cp_file_from_vm"] = ["", "", 0]
        answers["run_cmd"] = "id-1"
        answers["list_finished_cmds"] = {"id-1": {"cmd": "app"}}
        answers["ping"] = "PONG from boinc"
        answers["get_cmd_results"] = {
            "out": "done\n",
            "err": "",
            "finished": True,
            "exitCodeOrSignal": 0,
            "resources": {"ru_utime": 0.5, "ru_stime": 0.25, "ru_maxrss": 2**33},
        }

        def wrapper(client):
            if "boinc" not in client.listAvailableVMs():
                self.assertEqual(client.createVM("boinc", "/images/boinc.vmdk"), [True, "boinc"])
            self.assertNotEqual(client.getState("boinc"), "Saved")
            self.assertIs(client.start("boinc"), True)
            self.assertIn("boinc", client.listRunningVMs())
            self.assertEqual(client.ping("boinc"), "PONG from boinc")
            self.assertIs(client.pause("boinc"), True)
            self.assertIs(client.unpause("boinc"), True)
            out, err, status = client.cpFileToVM("boinc", "/slot/in", "/data/in")
            self.assertEqual((out, err, status), ("", "", 0))
            cmd_id = client.runCmd("boinc", "app", ["--in x"], "{}", "None", "/data/in")
            self.assertIn(cmd_id, client.listFinishedCmds())
            result = client.getCmdResults(cmd_id)
            self.assertEqual((result["out"], result["exitCodeOrSignal"]), ("done\n", 0))
            resources = result["resources"]
            self.assertEqual(resources["ru_utime"] + resources["ru_stime"], 0.75)
            self.assertEqual(resources["ru_maxrss"], 2**33)
            return client.cpFileFromVM("boinc", "/data/out", "/slot/out")

        self.assertEqual(await self.with_client(wrapper), ["", "", 0])

    async def test_not_yet(self):
        """The wrapper takes any Fault of ping for: not yet."""
        self.operations.answers["ping"] = GuestUnreachable("boinc", "no answer within 5 s")
        fault = await self.fault_of(lambda client: client.ping("boinc", 0.5))
        self.assertEqual(
            (fault.faultCode, fault.faultString),
            (40, "GUEST_UNREACHABLE: 'boinc': no answer within 5 s"),
        )

    async def test_help_by_hand(self):
        """What one types first at a prompt has an answer."""
        self.assertIn("createVM(vm, image, options={})", await self.with_client(lambda c: c.help()))
        names = await self.with_client(lambda client: client.system.listMethods())
        self.assertIn("runCmd", names)


class ContentTests(SocketCase):
    async def test_what_guests_print(self):
        """Colours, NUL, CR and other bytes of a guest arrive, repaired as text, exact as bytes."""
        printed = b"\x1b[31mred\x1b[0m\r\n\x00\xff"
        self.operations.answers["get_cmd_output"] = printed
        self.operations.answers["get_cmd_results"] = {"out": printed.decode("utf-8", "replace")}
        output = await self.with_client(lambda c: c.getCmdOutput("id", "stdout"))
        self.assertEqual(output, Binary(printed))
        result = await self.with_client(lambda c: c.getCmdResults("id"))
        self.assertEqual(result["out"], "\ufffd[31mred\ufffd[0m\r\n\ufffd\ufffd")

    async def test_names(self):
        """Names of every script, with markup and quotes, survive both ways; so do their errors."""
        name = "größe <b>&amp;\"' 日本語"
        self.operations.answers["get_state"] = NoSuchVM(name)
        fault = await self.fault_of(lambda client: client.getState(name))
        self.assertEqual(self.operations.calls, [("get_state", name)])
        self.assertIn(repr(name), fault.faultString)

    async def test_large_bodies_do_not_stop_the_rest(self):
        """While megabytes are parsed and written in threads, other calls are answered."""
        self.operations.answers["get_cmd_results"] = {"out": "<x>\n" * (2 * MIB)}
        self.operations.answers["version"] = "1"
        waits_s = []

        def many_small(client):
            until_s = time.monotonic() + 1.0
            while time.monotonic() < until_s:
                began_s = time.monotonic()
                client.version()
                waits_s.append(time.monotonic() - began_s)

        arguments = ["x"] * 300_000
        large_in = self.fault_of(lambda client: client.runCmd("a", "c", arguments))
        large_out = self.with_client(lambda client: len(client.getCmdResults("id")["out"]))
        small = self.with_client(many_small)
        fault, length, _ = await gatherResults(
            [Deferred.fromCoroutine(work) for work in (large_in, large_out, small)]
        )
        self.assertIn("BAD_ARGUMENT: runCmd: ", fault.faultString)
        self.assertEqual(length, 8 * MIB)
        self.assertGreater(len(waits_s), 10)


class HostileTests(SocketCase):
    async def test_too_large(self):
        """A body beyond the limit is 413, seen by the client that goes on sending it."""

        def send(client):
            try:
                client.getState("x" * (BODY_MAX_BYTES + 1))
            except ProtocolError as error:
                return error.errcode
            raise AssertionError("it was accepted")

        self.assertEqual(await self.with_client(send), 413)
        self.assertEqual(self.operations.calls, [])

    async def test_too_large_by_chunks(self):
        """So is one whose length isn't declared."""

        def send():
            connection = http.client.HTTPConnection("127.0.0.1", self.port)
            connection.request(
                "POST",
                "/RPC2",
                body=(b" " * MIB for _ in range(20)),
                headers={"Content-Type": "text/xml"},
                encode_chunked=True,
            )
            with connection.getresponse() as response:
                return response.status, response.read()

        self.assertEqual(
            await deferToThread(send), (413, b"The request is larger than 16777216 bytes.\n")
        )

    async def test_hanging_up(self):
        """A client that goes while it waits ends its waiting; the daemon answers others."""
        cancelled = Deferred()
        self.operations.answers["wait_cmd"] = Deferred(lambda _: cancelled.callback(None))
        body = dumps(("id",), "waitCmd").encode()

        def call_and_go():
            with socket.create_connection(("127.0.0.1", self.port)) as connection:
                connection.sendall(
                    b"POST /RPC2 HTTP/1.1\r\nHost: h\r\nContent-Type: text/xml\r\n"
                    b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
                )
                time.sleep(0.1)

        await deferToThread(call_and_go)
        await cancelled
        await deferLater(reactor, 0)
        self.assertEqual(await self.with_client(lambda client: client.getState("a")), True)
