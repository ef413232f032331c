"""Job files: what they may say, and that nothing in one harms."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.client.boinc.job import BadJob, Task, VmPart, fractions, parse_job
from vmcontroller.client.boinc.safe_xml import BadXml, parse

TASK = "<task><application>a</application></task>"


def job(inner=TASK, vm="<vm><name>v</name></vm>"):
    return parse_job(f"<job_desc>{vm}{inner}</job_desc>".encode())


class JobTests(SynchronousTestCase):
    def bad(self, inner, says, vm="<vm><name>v</name></vm>"):
        self.assertIn(says, str(self.assertRaises(BadJob, job, inner, vm)))

    def test_everything(self):
        """Each element arrives where it belongs."""
        found = job(
            "<checkpoint_period>60</checkpoint_period><start_deadline>9</start_deadline>"
            "<disable_automatic_checkpoints/><bunny/>"
            "<task><application>./w</application><copy_app/><command_line>-a 'b c'</command_line>"
            "<append_cmdline_args>1</append_cmdline_args><stdin_filename>in</stdin_filename>"
            "<stdout_filename>o</stdout_filename><stderr_filename>e</stderr_filename>"
            "<copy_file_to_VM>x</copy_file_to_VM><copy_file_to_VM>./d/y</copy_file_to_VM>"
            "<copy_file_from_VM>z</copy_file_from_VM><setenv>A=b=c</setenv><weight>2</weight>"
            "<fraction_done_filename>f</fraction_done_filename><time_limit>5</time_limit>"
            "<retry_exit_code>75</retry_exit_code><multi_process/></task>",
            "<vm><name>v</name><image>i</image><memory>256</memory><vcpus>2</vcpus>"
            "<network>none</network><clone>0</clone><snapshot>s</snapshot>"
            "<directory>/job</directory></vm>",
        )
        self.assertEqual(
            found.vm,
            VmPart(
                name="v",
                image="i",
                memory_mib=256,
                vcpus=2,
                network="none",
                clone=False,
                snapshot="s",
                directory="/job",
            ),
        )
        self.assertEqual(
            found.tasks,
            (
                Task(
                    application="./w",
                    arguments=("-a", "b c"),
                    append_cmdline_args=True,
                    copy_app=True,
                    stdin_filename="in",
                    stdout_filename="o",
                    stderr_filename="e",
                    inputs=("x", "d/y"),
                    outputs=("z",),
                    environment=(("A", "b=c"),),
                    weight=2.0,
                    fraction_done_filename="f",
                    time_limit_s=5.0,
                    retry_exit_codes=frozenset({75}),
                ),
            ),
        )
        self.assertEqual(
            (found.checkpoint_period_s, found.checkpoints, found.start_deadline_s), (60, False, 9)
        )
        self.assertEqual(
            found.notes, ("<bunny> is not used", "<multi_process> in <task> is not used")
        )

    def test_boincvm(self):
        """The job file of boincvm, with a VM in each task and a manager that is not needed."""
        task = (
            "<task><virtualmachine>CernVM</virtualmachine><image></image>"
            "<application>./worker.py</application><copy_app_to_VM>1</copy_app_to_VM>"
            "<copy_file_to_VM>in</copy_file_to_VM><copy_file_from_VM>out</copy_file_from_VM>"
            "<command_line>5</command_line><weight>2</weight></task>"
        )
        manager = "<VMmanage_task><application>python</application></VMmanage_task>"
        found = job(manager + task + task, "")
        self.assertEqual(found.vm, VmPart(name="CernVM", image=None, clone=False))
        self.assertEqual(len(found.tasks), 2)
        self.assertTrue(found.tasks[0].copy_app)
        self.assertEqual(found.notes, ("<VMmanage_task> is not used",))

    def test_refused(self):
        """What can't be used is named, with what is allowed."""
        self.bad("", "<task>: there must be 1 to 1000")
        self.bad(TASK * 1001, "<task>: there must be 1 to 1000")
        self.bad("<task/>", "<application>")
        self.bad(TASK + "<unzip_task/>", "unpack in a <task>")
        self.bad(TASK, "<vm>: must have", vm="<vm/>")
        self.bad(TASK, "<directory>", vm="<vm><name>v</name><directory>x</directory></vm>")
        self.bad(TASK, "<memory>", vm="<vm><memory>1.5</memory></vm>")
        self.bad(TASK, "<clone>", vm="<vm><clone>maybe</clone></vm>")
        for inner, says in (
            ("<command_line>'</command_line>", "<command_line>"),
            ("<weight>0</weight>", "<weight>: must be a number from 1e-09"),
            ("<weight>nan</weight>", "<weight>"),
            ("<weight><b/></weight>", "<weight>: there must be text in it"),
            ("<setenv>A</setenv>", "NAME=VALUE"),
            ("<retry_exit_code>0</retry_exit_code>", "from 1 to 255"),
            (f"<command_line>{'x' * 8193}</command_line>", "at most 8192"),
        ):
            self.bad(TASK.replace("</task>", f"{inner}</task>"), says)
        other = "<task><virtualmachine>b</virtualmachine><application>a</application></task>"
        self.bad(other + other.replace("b<", "c<"), "same VM", vm="")
        self.assertIn("<job_desc>", str(self.assertRaises(BadJob, parse_job, b"<job/>")))

    def test_no_path_leaves_the_slot(self):
        """A file of the slot is one of the slot, and of the task's directory in the guest."""
        for path in ("/etc/passwd", "../x", "a/../../x", "a//b", "a\nb"):
            for tag in ("copy_file_to_VM", "copy_file_from_VM", "stdout_filename"):
                self.bad(TASK.replace("</task>", f"<{tag}>{path}</{tag}></task>"), f"<{tag}>")

    @given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
    def test_anything(self, data):
        """Whatever the file holds, it is a job or one clear error."""
        try:
            parse_job(data)
        except BadJob as error:
            self.assertTrue(str(error))

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(
                    [
                        "application",
                        "command_line",
                        "weight",
                        "copy_app",
                        "setenv",
                        "stdin_filename",
                    ]
                ),
                st.text("ab0.-/'\\ =", max_size=8),
            ),
            max_size=6,
        )
    )
    def test_any_task(self, elements):
        """What is accepted keeps its promises."""
        inner = "".join(f"<{tag}>{text}</{tag}>" for tag, text in elements)
        try:
            (task,) = job(f"<task>{inner}</task>").tasks
        except BadJob:
            return
        self.assertTrue(task.application)
        self.assertGreater(task.weight, 0)
        self.assertNotIn("..", task.stdin_filename.split("/"))

    @given(st.lists(st.floats(1e-9, 1e9), min_size=1, max_size=20))
    def test_fractions(self, weights):
        """They begin with 0, end with 1, and never fall."""
        tasks = "".join(
            f"<task><application>a</application><weight>{weight}</weight></task>"
            for weight in weights
        )
        found = fractions(job(tasks))
        self.assertEqual((found[0], found[-1], len(found)), (0.0, 1.0, len(weights) + 1))
        self.assertEqual(list(found), sorted(found))


class SafeXmlTests(SynchronousTestCase):
    def test_refused(self):
        """Entities, depth, number and size are bounded before anything is built of them."""
        bomb = b'<!DOCTYPE a [<!ENTITY b "ccc"><!ENTITY d "&b;&b;&b;">]><a>&d;</a>'
        for data, says in (
            (bomb, "document type"),
            (b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', "document type"),
            (b"<a>&undefined;</a>", "well-formed"),
            (b"<a>" * 9 + b"</a>" * 9, "nested"),
            (b"<a>" + b"<b/>" * 10_000 + b"</a>", "more than"),
            (b"<a>" + b" " * 2**20 + b"</a>", "larger than"),
            (b'<?xml version="1.0" encoding="nonsense"?><a/>', "well-formed"),
            (b"", "well-formed"),
        ):
            self.assertIn(says, str(self.assertRaises(BadXml, parse, data)))

    def test_text(self):
        """Text, its order and its encoding are kept."""
        root = parse("<a>\u00fc<b>1</b><b>&lt;</b></a>".encode())
        self.assertEqual((root.text, [each.text for each in root]), ("\u00fc", ["1", "<"]))
