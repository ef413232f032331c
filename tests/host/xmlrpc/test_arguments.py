"""Arguments: what old and new clients send, and one clear error for everything else."""

import datetime as dt
from xmlrpc.client import Binary, DateTime

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.host.xmlrpc.recording import InMemoryDoor
from vmcontroller.common.errors import BadArgument
from vmcontroller.common.model import CommandSpec
from vmcontroller.host.requests import CreateOptions, DiskOptions
from vmcontroller.host.xmlrpc.create_options import CREATE_OPTIONS
from vmcontroller.host.xmlrpc.faults import PUBLISHED
from vmcontroller.host.xmlrpc.table import METHODS


class DoorCase(SynchronousTestCase):
    def setUp(self):
        self.door = InMemoryDoor()

    def called(self, method, *params):
        """Call; return what the operation was called with."""
        self.door.operations.calls.clear()
        self.door.call(method, *params)
        (call,) = self.door.operations.calls
        return call

    def refused(self, says, method, *params):
        """Call what must be refused before any operation is called; check the text."""
        self.door.operations.calls.clear()
        fault = self.door.fault(method, *params)
        self.assertEqual(fault.faultCode, PUBLISHED["BAD_ARGUMENT"].number)
        self.assertEqual(fault.faultString, f"BAD_ARGUMENT: {says}")
        self.assertEqual(self.door.operations.calls, [])


class BindTests(DoorCase):
    def test_missing(self):
        """A missing argument is named, with how to call."""
        self.refused(
            "image: is missing, a string of 0 to 4096 characters: createVM(vm, image, options={})",
            "createVM",
            "a",
        )

    def test_surplus(self):
        """Surplus arguments are counted, with how to call."""
        self.refused(
            "start: takes at most 2 arguments, not 3: start(vm, guiMode=False)",
            "start",
            "a",
            False,
            1,
        )
        self.refused("listVMs: takes at most 0 arguments, not 1: listVMs()", "listVMs", "a")

    def test_defaults(self):
        """Defaults stand in for what is left out, and for nil."""
        self.assertEqual(self.called("ping", "a"), ("ping", "a", 5.0))
        self.assertEqual(self.called("ping", "a", None), ("ping", "a", 5.0))
        self.assertEqual(
            self.called("getCmdOutput", "i", "stdout"),
            ("get_cmd_output", "i", "stdout", 0, 65536, 0.0),
        )
        self.assertEqual(self.called("waitCmd", "i"), ("wait_cmd", "i", 60.0))

    def test_nil_is_no_value(self):
        """Nil where a value is needed is a missing argument."""
        self.refused(
            "vm: is missing, a string of 1 to 1000 characters: getState(vm)", "getState", None
        )

    @given(
        st.sampled_from(sorted(METHODS)),
        st.lists(
            st.recursive(
                st.one_of(
                    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(),
                    st.datetimes(), st.sampled_from(["{}", "None", "stdout", "'x'", "[1]"]),
                ),
                lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
                max_leaves=6,
            ),
            max_size=8,
        ),
    )  # fmt: skip
    def test_whatever_is_sent(self, name, params):
        """Arguments of any types are bound or refused by BadArgument with a short text."""
        try:
            METHODS[name].bind(params)
        except BadArgument as error:
            self.assertLess(len(str(error)), 700)


class KindTests(DoorCase):
    def test_wrong_types(self):
        """A wrong type is named together with what is allowed."""
        text = "vm: must be a string of 1 to 1000 characters, not "
        for value, name in (
            (1, "an int"),
            (True, "a boolean"),
            (1.5, "a double"),
            (["a"], "an array"),
            ({"a": 1}, "a struct"),
            (Binary(b"a"), "base64"),
            (DateTime(dt.datetime(2020, 1, 1, tzinfo=dt.UTC)), "a dateTime"),
        ):
            self.refused(text + name, "getState", value)

    def test_text_bounds(self):
        """An empty or an endless name is refused; its content is not repeated."""
        self.refused("vm: must be a string of 1 to 1000 characters; it is empty", "getState", "")
        self.refused(
            "vm: must be a string of 1 to 1000 characters, not of 1001", "getState", "x" * 1001
        )

    def test_numbers(self):
        """Ranges hold at both ends, a boolean is no number, an int is a double too."""
        allowed = "timeout_secs: must be a number from 0 to 3600 seconds, not "
        for value, shown in (
            (-0.1, "-0.1"),
            (3601, "3601"),
            (float("nan"), "nan"),
            (float("inf"), "inf"),
            (True, "a boolean"),
            ("5", "a string"),
        ):
            self.refused(allowed + shown, "ping", "a", value)
        for value in (0, 3600, 0.5):
            self.assertEqual(self.called("ping", "a", value), ("ping", "a", float(value)))

    def test_offsets_beyond_32_bits(self):
        """A large offset comes as a double without a fraction."""
        self.assertEqual(
            self.called("getCmdOutput", "i", "stderr", 2.0**40, 1),
            ("get_cmd_output", "i", "stderr", 2**40, 1, 0.0),
        )
        allowed = f"offset: must be a whole number from 0 to {2**53}, not "
        self.refused(allowed + "1.5", "getCmdOutput", "i", "stdout", 1.5)
        self.refused(allowed + "inf", "getCmdOutput", "i", "stdout", float("inf"))
        self.refused(allowed + "-1", "getCmdOutput", "i", "stdout", -1)

    def test_choices(self):
        """A choice names what there is."""
        self.refused("stream: must be 'stdout' or 'stderr', not an int", "getCmdOutput", "i", 1)
        self.refused("stream: must be 'stdout' or 'stderr', not 'out'", "getCmdOutput", "i", "out")

    def test_flags(self):
        """0 and 1 are booleans for clients that have no other; 2 isn't."""
        for value in (True, False, 0, 1):
            self.assertEqual(self.called("start", "a", value), ("start", "a"))
        self.refused("guiMode: must be a boolean, not an int", "start", "a", 2)
        self.refused("guiMode: must be a boolean, not a string", "start", "a", "yes")


class CreateTests(DoorCase):
    def test_options(self):
        """Each option becomes the field it is meant for."""
        given = {
            "memory": 1024,
            "vcpus": 2.0,
            "network": "bridge",
            "bridge": "br0",
            "format": "raw",
            "clone": True,
            "diskSize": 4096,
            "disks": [{"path": "/d", "format": "raw", "bus": "ide"}, {"size": 10.0}],
            "bus": "scsi",
            "cdrom": "/c.iso",
            "bootOrder": ["cdrom", "disk"],
            "firmware": "uefi",
            "userData": "#!/bin/sh",
            "metaData": "a: b",
            "networkConfig": "version: 2",
            "sshKeys": ["ssh-ed25519 AAAA"],
            "hostname": "h",
            "description": "what it is for",
        }
        wanted = CreateOptions(
            memory_mib=1024,
            vcpus=2,
            network="bridge",
            bridge="br0",
            format="raw",
            clone=True,
            disk_size_mib=4096,
            disks=(DiskOptions(path="/d", format="raw", bus="ide"), DiskOptions(size_mib=10)),
            bus="scsi",
            cdrom="/c.iso",
            boot_order=("cdrom", "disk"),
            firmware="uefi",
            user_data="#!/bin/sh",
            meta_data="a: b",
            network_config="version: 2",
            ssh_keys=("ssh-ed25519 AAAA",),
            hostname="h",
            description="what it is for",
        )
        self.assertEqual(
            self.called("createVM", "a", "/d.qcow2", given),
            ("create_vm", "a", "/d.qcow2", wanted),
        )

    def test_kernel(self):
        """A kernel comes with its initrd and command line."""
        given = {"kernel": "/k", "initrd": "/i", "cmdline": "quiet"}
        self.assertEqual(self.called("createVM", "a", "", given)[-1], CreateOptions(**given))

    def test_no_options(self):
        """Without options, and with the '' of old clients, the defaults hold."""
        for params in ((), ({},), ("",), (None,)):
            self.assertEqual(
                self.called("createVM", "a", "", *params), ("create_vm", "a", "", CreateOptions())
            )

    def test_bad_options(self):
        """An unknown or a wrong option is named with what is allowed."""
        keys = ", ".join(entry.key for entry in CREATE_OPTIONS.entries)
        self.assertTrue(keys.startswith("memory, vcpus, network, "))
        for options, says in (
            ({"mem": 1}, f"options: 'mem' is no option; allowed: {keys}"),
            (
                {"memory": "1G"},
                "options.memory: must be a whole number from 16 to 16777216 MiB, not a string",
            ),
            ({"vcpus": 0}, "options.vcpus: must be a whole number from 1 to 512, not 0"),
            (
                {"network": "lan"},
                "options.network: must be 'nat' or 'isolated' or 'bridge' or 'none', not 'lan'",
            ),
            (
                {"kernel": "vmlinuz"},
                "options.kernel: must be an absolute path of 0 to 4096 characters, not 'vmlinuz'",
            ),
            ({"initrd": "/i"}, "options.initrd: needs options.kernel as well"),
            ([], f"options: must be a struct of {keys}, not an array"),
            (
                {"bootOrder": ["floppy"]},
                "options.bootOrder[0]: must be 'disk' or 'network' or 'cdrom', not 'floppy'",
            ),
            (
                {"sshKeys": "ssh-ed25519 AAAA"},
                (
                    "options.sshKeys: must be an array of at most 64, each a string of 1 to 8192 "
                    "characters, not a string"
                ),
            ),
            (
                {"disks": [{"size": 1}] * 16},
                (
                    "options.disks: must be an array of at most 15, each a struct of path, size, "
                    "format, bus, not of 16"
                ),
            ),
            (
                {"disks": [{"size": 1}, {"bus": "isa"}]},
                ("options.disks[1].bus: must be 'virtio' or 'sata' or 'scsi' or 'ide', not 'isa'"),
            ),
            (
                {"userData": "x" * 300_000},
                "options.userData: must be a string of 0 to 262144 characters, not of 300000",
            ),
        ):
            self.refused(says, "createVM", "a", "/d", options)


class RunTests(DoorCase):
    def spec(self, *params):
        """Call runCmd; return what the operation got that is to be run."""
        return self.request(*params).spec

    def request(self, *params):
        """Call runCmd; return the request that the operation got."""
        name, vm, request = self.called("runCmd", "a", *params)
        self.assertEqual((name, vm), ("run_cmd", "a"))
        return request

    def test_all_there_is(self):
        """Every parameter and option arrives where it belongs."""
        options = {"stdin": Binary(b"\x00x"), "timeout": 5, "user": "u", "output_limit": 10}
        self.assertEqual(
            self.spec("cat", ["-A", "b c"], {"A": "ü"}, "/tmp", "", options),
            CommandSpec(
                cmd="cat",
                args=("-A", "b c"),
                env={"A": "ü"},
                path="/tmp",
                stdin=b"\x00x",
                timeout_s=5.0,
                user="u",
                output_limit_bytes=10,
            ),
        )

    def test_since_protocol_3(self):
        """The options that only newer agents know arrive, too."""
        options = {
            "group": "g",
            "umask": 0o22,
            "nice": -5,
            "replaceEnv": True,
            "killAfter": 1,
            "stdinOpen": 1,
            "outputLimit": 2.0**40,
        }
        request = self.request("cat", [], {}, "", "", options)
        self.assertFalse(request.has_usual_output_limit)
        self.assertEqual(
            request.spec,
            CommandSpec(
                cmd="cat",
                group="g",
                umask=0o22,
                nice=-5,
                replace_env=True,
                kill_after_s=1.0,
                stdin_open=True,
                output_limit_bytes=2**40,
            ),
        )
        request = self.request("cat", [], {}, "", "", {"stdinFromHost": "in"})
        self.assertEqual((request.stdin_from_host, request.has_usual_output_limit), ("in", True))

    def test_signals(self):
        """A signal has a name, with SIG or without, or a number; nothing else is sent."""
        for said in ("KILL", "SIGKILL", "sigkill", "9", 9):
            self.assertEqual(self.called("killCmd", "i", said), ("kill_cmd", "i", "KILL"))
        self.assertEqual(self.called("killCmd", "i"), ("kill_cmd", "i", "TERM"))
        for wrong in ("SEGV", "", "0", "-9", 0, 2**31 - 1, "9" * 400, "SIGSIGKILL"):
            error = self.door.fault("killCmd", "i", wrong)
            self.assertIn("signal: must be one of HUP, INT", error.faultString)

    def test_which_vms(self):
        """A pattern, or names; no empty one, and not without end."""
        name, vms, _ = self.called("runCmdOnAll", "worker *", "true")
        self.assertEqual((name, vms), ("run_cmd_on_all", "worker *"))
        self.assertEqual(self.called("runCmdOnAll", ["a", "b"], "true")[1], ("a", "b"))
        for wrong in ("", [], [""], [1], 1, ["a"] * 1001, "x" * 1001):
            self.assertIn("vms", self.door.fault("runCmdOnAll", wrong, "true").faultString)

    def test_the_original_client(self):
        """The old wrapper's call, with its literals in strings, means what it meant."""
        self.assertEqual(
            self.spec("app", ["--in x"], "{}", "None", "/data/in"),
            CommandSpec(cmd="app", args=("--in x",), file_for_stdin="/data/in"),
        )
        self.assertEqual(
            self.spec("app", (), "{'A': 'b'}", "'/tmp'"),
            CommandSpec(cmd="app", env={"A": "b"}, path="/tmp"),
        )

    def test_nothing_in_many_ways(self):
        """'' , 'None', nil and empty values are all nothing."""
        for nothing in ("", "None", None):
            self.assertEqual(
                self.spec("app", nothing, nothing, nothing, nothing), CommandSpec(cmd="app")
            )
        self.assertEqual(self.spec("app", [], {}, "", "", ""), CommandSpec(cmd="app"))

    def test_paths_are_paths(self):
        """A natural path is taken as it is, quotes inside and all."""
        for path in ("/tmp", "relative", "/it's", "'", "/a b"):
            self.assertEqual(self.spec("app", [], {}, path).path, path)

    def test_text_stdin(self):
        """A string is stdin as UTF-8."""
        self.assertEqual(self.spec("cat", [], {}, "", "", {"stdin": "ü"}).stdin, "ü".encode())

    def test_code_is_not_run(self):
        """Literals are values: what would have to be evaluated is refused."""
        for text in ("__import__('os').environ", "dict(A='b')", "{'A': 'b' + 'c'}", "{", "(" * 999):
            self.refused(
                f"env: must be a struct of strings, and the string {text!r:.100} does not hold one",
                "runCmd",
                "a",
                "c",
                [],
                text,
            )

    def test_literals_are_bounded(self):
        """A literal of endless length is not even read."""
        self.refused(
            "env: a literal ends at 65536 characters; send a struct of strings",
            "runCmd",
            "a",
            "c",
            [],
            "{" + " " * 65536 + "}",
        )

    def test_literals_of_other_types(self):
        """Only a dict, a string or None may be in a literal, with strings inside."""
        for params, says in (
            (([], "[1]"), "env: must be a struct of strings, not an array"),
            (([], "'A'"), "env: must be a struct of strings, not a string"),
            (([], "{'A': 1}"), "env.A: must be a string, not an int"),
            (([], "{1: 'A'}"), "env: 1 cannot be a variable's name"),
            (([], r"{'A': '\x00'}"), "env.A: must not hold NUL or lone surrogates"),
            (([], r"{'\x00': 'A'}"), "env: must not hold NUL or lone surrogates"),
            (([], {}, r"'\ud800'"), "path: must not hold NUL or lone surrogates"),
            (
                ([], {}, "'a'b'"),
                (
                    "path: must be a string of 0 to 4096 characters, and the string \"'a'b'\" does "
                    "not hold one"
                ),
            ),
        ):
            self.refused(says, "runCmd", "a", "c", *params)

    def test_bad_values(self):
        """What no process can be given is refused here, not in the guest."""
        for params, says in (
            (("",), "cmd: must be a string of 1 to 4096 characters; it is empty"),
            (("c", "-a"), "args: must be an array of strings, not a string"),
            (("c", ["a", 1]), "args[1]: must be a string, not an int"),
            (("c", [None]), "args[0]: must be a string, not nil"),
            (("c", [], {"A": 1}), "env.A: must be a string, not an int"),
            (("c", [], {"A=B": "x"}), "env: 'A=B' cannot be a variable's name"),
            (("c", [], {"": "x"}), "env: '' cannot be a variable's name"),
            (("c", [], []), "env: must be a struct of strings, not an array"),
            (("c", [], {}, 1), "path: must be a string of 0 to 4096 characters, not an int"),
            (
                ("c", [], {}, "", "", {"shell": True}),
                (
                    "options: 'shell' is no option; allowed: stdin, stdinOpen, stdinFromHost, "
                    "timeout, killAfter, user, group, umask, nice, replaceEnv, outputLimit, "
                    "output_limit"
                ),
            ),
            (
                ("c", [], {}, "", "/f", {"stdin": "x"}),
                "options.stdin: fileForStdin is given too; only one can be stdin",
            ),
            (
                ("c", [], {}, "", "", {"output_limit": 2.0**41}),
                (
                    f"options.output_limit: must be a whole number from 0 to {2**40} bytes, "
                    "not 2199023255552"
                ),
            ),
            (
                ("c", [], {}, "", "", {"stdin": 1}),
                "options.stdin: must be base64 or a string of at most 1000000 bytes, not an int",
            ),
            (
                ("c", [], {}, "", "", {"stdin": "ü" * 500_001}),
                (
                    "options.stdin: must be base64 or a string of at most 1000000 bytes, "
                    "not of 1000002"
                ),
            ),
        ):
            self.refused(says, "runCmd", "a", *params)
