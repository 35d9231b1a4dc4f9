"""The verifier pool: hostile answers end at the time-out, and no answer harms the next one."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tapo.rewards import compute_score, verifier_pool
from tapo.rewards.verifier_pool import VerifierPool, VerifierProcess

TIMEOUT_S = 0.4
SLACK_S = 8.0  # a process start and a loaded machine
TOWER = "9^{9^{9^{9}}}"


@pytest.fixture
def pool():
    pool = VerifierPool(1)
    yield pool
    pool.close()


@pytest.fixture(autouse=True, scope="module")
def no_process_left_behind():
    yield
    verifier_pool.close_shared_pools()


def idle_process(pool: VerifierPool) -> VerifierProcess:
    process = pool._idle.get_nowait()
    pool._idle.put(process)
    return process


def is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until_dead(pid: int, limit_s: float) -> bool:
    deadline = time.monotonic() + limit_s
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not is_alive(pid)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param("9**9**9", id="python power"),
        pytest.param(TOWER, id="power tower"),
        pytest.param("100000!!", id="factorial tower"),
        pytest.param(r"\sum_{n=1}^{1000000000} n^{1/3}", id="long sum"),
        pytest.param("{" * 480 + "82" + "}" * 480, id="deep braces"),
        pytest.param(r"\frac{" * 200 + "1" + "}{2}" * 150, id="fractions, unbalanced"),
        pytest.param("(" * 490 + "1" + ")" * 490, id="deep parentheses"),
        pytest.param("1+" * 50_000 + "1", id="100,000 characters in the box"),
    ],
)
def test_a_hostile_answer_scores_zero_within_the_time_out(answer):
    started = time.monotonic()
    result = compute_score("math", "x" * 100_000 + f"\\boxed{{{answer}}}", "82", timeout_s=TIMEOUT_S, workers=1)
    assert time.monotonic() - started < TIMEOUT_S + SLACK_S
    assert result["score"] == result["acc"] == 0.0
    assert result["timeout"] + result["unparsable"] <= 1


def test_a_child_that_runs_too_long_is_killed_and_replaced_and_the_next_answer_is_right(pool):
    assert pool.verify("1/2", "0.5", 10) == "equal"
    first = idle_process(pool).pid
    assert pool.verify("82", TOWER, TIMEOUT_S) == "timeout"
    assert not is_alive(first)
    assert pool.verify("1/2", "0.5", 10) == "equal"
    assert idle_process(pool).pid != first


def test_a_time_out_is_reported(monkeypatch, pool):
    monkeypatch.setattr(verifier_pool, "_pools", {1: pool})
    result = compute_score("math", rf"\boxed{{{TOWER}}}", "82", timeout_s=0.2, workers=1)
    assert result == {"score": 0.0, "acc": 0.0, "timeout": 1, "unparsable": 0, "pred": TOWER}


def test_starting_the_process_is_not_charged_to_the_time_out(monkeypatch, tmp_path, pool):
    (tmp_path / "sitecustomize.py").write_text("import time; time.sleep(1.2)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    started = time.monotonic()
    assert pool.verify("1/2", "0.5", 1.0) == "equal"
    assert time.monotonic() - started > 1.2


def test_a_child_that_died_while_idle_is_replaced_without_a_wrong_score(pool):
    pool.verify("1/2", "0.5", 10)
    os.kill(idle_process(pool).pid, signal.SIGKILL)
    assert pool.verify("1/2", "0.5", 10) == "equal"


def test_an_answer_that_kills_a_fresh_child_is_a_crash_and_leaves_the_slot_free(monkeypatch, pool):
    def die(self, gold, answer, timeout_s):
        raise EOFError

    with monkeypatch.context() as patch:
        patch.setattr(VerifierProcess, "ask", die)
        assert pool.verify("82", "1/2", 10) == "crashed"
    assert pool.verify("1/2", "0.5", 10) == "equal"


def test_an_answer_whose_fresh_child_is_killed_by_something_else_is_asked_again(monkeypatch, pool):
    asked, ask = [], VerifierProcess.ask

    def killed_once(self, *request):
        asked.append(self.pid)
        if len(asked) == 1:
            os.kill(self.pid, signal.SIGKILL)
        return ask(self, *request)

    monkeypatch.setattr(VerifierProcess, "ask", killed_once)
    assert pool.verify("1/2", "0.5", 10) == "equal" and len(set(asked)) == 2


def test_a_child_that_is_killed_while_it_starts_is_started_again(monkeypatch, pool):
    started, receive = [], VerifierProcess._receive

    def killed(self, timeout_s):
        if self.pid not in started:
            started.append(self.pid)
            if len(started) in kills:
                os.kill(self.pid, signal.SIGKILL)
        return receive(self, timeout_s)

    monkeypatch.setattr(VerifierProcess, "_receive", killed)
    kills = {1, 2}
    assert pool.verify("1/2", "0.5", 10) == "equal" and len(started) == 3
    os.kill(idle_process(pool).pid, signal.SIGKILL)
    kills = {4, 5, 6, 7, 8, 9}
    with pytest.raises(RuntimeError, match=r"did not start \(EOFError, exit status -9"):
        pool.verify("1/2", "0.5", 10)
    assert pool.verify("1/2", "0.5", 10) == "equal"


def test_an_interrupted_call_never_leaves_its_verdict_to_the_next_one(monkeypatch, pool):
    def interrupt(self, timeout_s):
        raise KeyboardInterrupt

    pool.verify("82", "1/2", 10)
    with monkeypatch.context() as patch:
        patch.setattr(VerifierProcess, "_receive", interrupt)
        with pytest.raises(KeyboardInterrupt):
            pool.verify("1/2", "0.5", 10)
    assert pool.verify("82", "1/2", 10) == "different"


def test_a_child_may_take_one_gibibyte_of_address_space(pool):
    assert pool.verify("1/2", "0.5", 10) == "equal"
    with open(f"/proc/{idle_process(pool).pid}/limits") as limits:
        (line,) = [line for line in limits if line.startswith("Max address space")]
    assert line.split()[3] == str(1 << 30)


def test_eight_threads_get_their_own_verdicts_also_beside_time_outs_and_without_signals():
    handler = signal.getsignal(signal.SIGALRM)
    cases = [(rf"\frac{{1}}{{{n}}}", f"1/{n + n % 2}", float(n % 2 == 0)) for n in range(2, 50)]
    for position in (5, 20):
        cases.insert(position, (TOWER, "82", 0.0))

    def run(case):
        assert threading.current_thread() is not threading.main_thread()
        return compute_score("math", rf"\boxed{{{case[0]}}}", case[1], timeout_s=2.0, workers=2)

    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(run, cases))
    assert [result["score"] for result in results] == [right for _, _, right in cases]
    assert [result["timeout"] for result in results] == [int(answer == TOWER) for answer, _, _ in cases]
    assert signal.getsignal(signal.SIGALRM) is handler


def test_a_forked_process_gets_children_of_its_own():
    compute_score("math", r"\boxed{1/2}", "0.5")
    assert verifier_pool._pools
    pid = os.fork()
    if pid == 0:
        os._exit(1 if verifier_pool._pools else 0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert compute_score("math", r"\boxed{2/4}", "0.5")["score"] == 1.0


@pytest.mark.parametrize("answer", ["0.5", TOWER], ids=["idle", "busy"])
def test_a_child_ends_with_a_killed_parent(answer):
    script = f"""
        import threading, time
        from tapo.rewards.verifier_pool import VerifierProcess
        process = VerifierProcess()
        threading.Thread(target=process.ask, args=("82", {answer!r}, 0.5), daemon=True).start()
        time.sleep(0.3)
        print(process.pid, flush=True)
        time.sleep(60)
    """
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    assert is_alive(child)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert wait_until_dead(child, limit_s=SLACK_S)


def test_a_child_that_cannot_start_is_an_error_that_says_what_to_do(monkeypatch, tmp_path, pool):
    (tmp_path / "math_verify.py").write_text("raise SystemExit(3)")
    monkeypatch.syspath_prepend(str(tmp_path))
    for _ in range(2):  # the slot must be free again after the error
        with pytest.raises(
            RuntimeError, match=r"did not start \(EOFError, exit status 3.*is math-verify installed for"
        ):
            pool.verify("82", "1/2", 10)
