"""Byte by byte: what BOINC's client and the wrapper leave for each other."""

import math
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.client.boinc import messages
from vmcontroller.client.boinc.channel import CHANNEL_BYTES, MAP_BYTES, Channel, receive, send
from vmcontroller.client.boinc.init_data import InitData, parse_init_data
from vmcontroller.client.boinc.links import resolve, soft_link
from vmcontroller.client.boinc.messages import Control, Status, controlled


class ChannelTests(SynchronousTestCase):
    def test_layout(self):
        """The eight channels stand in BOINC's order, a flag and 1,023 bytes each."""
        buffer = bytearray(MAP_BYTES)
        self.assertTrue(send(buffer, Channel.APP_STATUS, "<x/>"))
        self.assertEqual(MAP_BYTES, 8192)
        self.assertEqual(bytes(buffer[5 * 1024 : 5 * 1024 + 6]), b"\x01<x/>\x00")
        self.assertEqual(sum(map(bool, buffer)), 5)

    def test_flag(self):
        """A message that was not taken is not written over; taking it makes room."""
        buffer = bytearray(MAP_BYTES)
        self.assertIsNone(receive(buffer, Channel.HEARTBEAT))
        self.assertTrue(send(buffer, Channel.HEARTBEAT, "one"))
        self.assertFalse(send(buffer, Channel.HEARTBEAT, "two"))
        self.assertEqual(receive(buffer, Channel.HEARTBEAT), "one")
        self.assertIsNone(receive(buffer, Channel.HEARTBEAT))
        self.assertTrue(send(buffer, Channel.HEARTBEAT, "two"))

    @given(st.text(max_size=3000), st.sampled_from(Channel))
    def test_any_text(self, text, channel):
        """Whatever is sent stays in its channel, ends with a NUL, and is what is received."""
        buffer = bytearray(MAP_BYTES)
        send(buffer, channel, text)
        self.assertEqual(buffer[(channel + 1) * CHANNEL_BYTES - 1], 0)
        outside = buffer[: channel * CHANNEL_BYTES] + buffer[(channel + 1) * CHANNEL_BYTES :]
        self.assertFalse(any(outside))
        sent = text.encode().replace(b"\0", b"")[:1022].decode("utf-8", "replace")
        self.assertEqual(receive(buffer, channel), sent)

    @given(st.binary(min_size=1024, max_size=1024))
    def test_any_bytes(self, data):
        """A channel full of anything is a text, or nothing."""
        buffer = bytearray(data) + bytearray(MAP_BYTES - 1024)
        text = receive(buffer, Channel.PROCESS_CONTROL_REQUEST)
        self.assertEqual(text is None, data[0] == 0)


class MessageTests(SynchronousTestCase):
    def test_control(self):
        """Each message changes one thing; quit and abort are for good."""
        control = Control()
        for message, wanted in (
            ("<suspend/>\n", Control(suspended=True)),
            ("<reread_app_info/>", Control(suspended=True)),
            ("<resume/>", Control()),
            ("<quit/>", Control(quit=True)),
            ("<suspend/>", Control(quit=True, suspended=True)),
            ("<abort/>", Control(quit=True, suspended=True, abort=True)),
        ):
            control = controlled(control, message)
            self.assertEqual(control, wanted)
        self.assertFalse(Control(suspended=True).ends)
        self.assertTrue(all(each.ends for each in (Control(gone=True), Control(quit=True))))

    def test_status(self):
        """The client finds its tags, and a stage is a part of the whole."""
        text = Status(cpu_s=12.5, checkpoint_cpu_s=10, fraction_done=0.5).message(0.2, 0.6)
        self.assertEqual(
            text,
            "<current_cpu_time>1.250000e+01</current_cpu_time>\n"
            "<checkpoint_cpu_time>1.000000e+01</checkpoint_cpu_time>\n"
            "<fraction_done>4.000000e-01</fraction_done>\n",
        )

    def test_files(self):
        """A line for each thing; a text of more lines is one."""
        self.assertEqual(messages.finish_text(0), "0\n")
        self.assertEqual(messages.finish_text(195, "a\nb"), "195\na b\n\n")
        self.assertEqual(messages.temporary_exit_text(300.4, "a\n b"), "300\na b\n")


class InitDataTests(SynchronousTestCase):
    def test_clients(self):
        """What a client writes, with what its project and its user have typed."""
        text = """<app_init_data>
<major_version>7</major_version>
<project_preferences>
<client_pid>666</client_pid> & <b
</project_preferences>
<result_name>wu_1_0</result_name>
<wu_name>wu_1</wu_name>
<shm_key>-1</shm_key>
<client_pid>4711</client_pid>
<wu_cpu_time>12.500000</wu_cpu_time>
<checkpoint_period>60.000000</checkpoint_period>
<fraction_done_start>0.250000</fraction_done_start>
<fraction_done_end>0.750000</fraction_done_end>
<ncpus>4.000000</ncpus>
<global_preferences><checkpoint_period>1</checkpoint_period></global_preferences>
</app_init_data>
"""
        self.assertEqual(
            parse_init_data(text.encode()),
            InitData(
                result_name="wu_1_0",
                wu_name="wu_1",
                client_pid=4711,
                ncpus=4.0,
                checkpoint_period_s=60.0,
                wu_cpu_time_s=12.5,
                fraction_done_start=0.25,
                fraction_done_end=0.75,
            ),
        )

    def test_defaults(self):
        """What is missing, or isn't a number, is as BOINC has it."""
        self.assertEqual(parse_init_data(b"<app_init_data></app_init_data>"), InitData())
        odd = b"<app_init_data><ncpus>x</ncpus><checkpoint_period>inf</checkpoint_period>"
        self.assertEqual(parse_init_data(odd), InitData())
        self.assertIsNone(parse_init_data(b""))

    @given(st.binary(max_size=300).map(lambda data: b"<app_init_data>" + data))
    def test_anything(self, data):
        """Any file is read without an error, and its numbers are numbers."""
        told = parse_init_data(data)
        self.assertTrue(math.isfinite(told.ncpus + told.checkpoint_period_s))


class LinkTests(SynchronousTestCase):
    def test_soft_links(self):
        """A file that begins with the tag leads elsewhere; any other is itself."""
        self.assertEqual(soft_link(b"<soft_link>../../p/f</soft_link>\n"), "../../p/f")
        self.assertEqual(soft_link(b"  <soft_link> ../p/a b </soft_link>"), "../p/a b")
        for data in (b"", b"\xff\x00", b"x <soft_link>y</soft_link>", b"<soft_link></soft_link>"):
            self.assertEqual(soft_link(data), "")

    @given(st.binary(max_size=1024))
    def test_anything(self, data):
        """Whatever a file begins with, it is no error."""
        self.assertNotIn("\n", soft_link(data))

    def test_resolve(self):
        """A link is followed from the slot, once; what is not there is itself."""
        slot = Path(self.mktemp()).resolve()
        slot.mkdir(parents=True)
        (slot / "link").write_text("<soft_link>../project/file</soft_link>\n")
        (slot / "plain").write_text("text")
        (slot / "folder").mkdir()
        self.assertEqual(resolve(slot, "link"), slot.parent / "project" / "file")
        for name in ("plain", "missing", "folder"):
            self.assertEqual(resolve(slot, name), slot / name)
