import signal
import subprocess
import sys
import time

import psutil

# A child in a session of its own, as Ray's processes are, whose parent ends at once; it ignores a polite request.
STUBBORN = """
import os, signal, subprocess, sys, time
code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
child = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
time.sleep(0.3)
open(sys.argv[1], "w").write(str(child.pid))
if sys.argv[2] == "stays": time.sleep(60)
raise SystemExit(5)
"""


def start(tmp_path, *command):
    keep = f"sys.exit(keeper.keep({str(tmp_path / 'lock')!r}, {command!r}))"
    code = f"import sys; from tapo.comparison import keeper; keeper.GRACE_S = 1.0; {keep}"
    return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, start_new_session=True)


def child_of(tmp_path):
    path = tmp_path / "pid"
    deadline = time.monotonic() + 10
    while not path.exists() or not path.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return psutil.Process(int(path.read_text()))


def is_gone(process):
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_a_commands_status_is_passed_on_and_what_it_left_behind_is_ended(tmp_path):
    process = start(tmp_path, sys.executable, "-c", STUBBORN, str(tmp_path / "pid"), "goes")
    child = child_of(tmp_path)
    assert process.wait(20) == 5
    assert is_gone(child)


def test_when_the_comparison_is_gone_all_that_it_started_ends(tmp_path):
    process = start(tmp_path, sys.executable, "-c", STUBBORN, str(tmp_path / "pid"), "stays")
    child = child_of(tmp_path)
    assert process.poll() is None and not is_gone(child)
    process.stdin.close()
    assert process.wait(20) == 143
    assert is_gone(child)


def test_a_signal_becomes_the_status_that_a_shell_gives(tmp_path):
    process = start(tmp_path, sys.executable, "-c", "import os; os.kill(os.getpid(), 9)")
    assert process.wait(20) == 128 + signal.SIGKILL


def test_a_program_that_is_not_there_is_named(tmp_path, capfd):
    assert start(tmp_path, "no-such-program").wait(20) == 127
    assert "no-such-program" in capfd.readouterr().err


def test_a_second_keeper_waits_until_the_first_has_ended(tmp_path):
    code = "import sys, time; open(sys.argv[1], 'a').write('a'); time.sleep(0.7); open(sys.argv[1], 'a').write('b')"
    written = tmp_path / "written"
    both = [start(tmp_path, sys.executable, "-c", code, str(written)) for _ in range(2)]
    assert [process.wait(20) for process in both] == [0, 0]
    assert written.read_text() == "abab"
