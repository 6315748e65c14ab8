"""Work in a process of its own: results, errors, logs, and the process's end."""

import logging
import os
import signal

import pytest

from slidemill.core import child_process
from slidemill.core.child_process import ChildCrashedError, ChildKilledError, ChildProcess
from slidemill.core.job_log import LOG
from slidemill.errors import StoreError


def own_id():
    return os.getpid()


def end(number):
    os.kill(os.getpid(), number)


def leave(code):
    os._exit(code)


def chat():
    print("what a library prints", flush=True)
    os.write(1, b"is no answer")


def fail():
    raise StoreError("a.lmdb: it is damaged")


def tell(text):
    LOG.info("half of it: %s", text)
    return text


def test_calls_share_a_process_that_is_not_this_one():
    with ChildProcess() as process:
        first = process.call(own_id)
        assert first == process.call(own_id) != os.getpid()


def test_what_a_function_raises_is_raised_here_and_the_process_goes_on():
    with ChildProcess() as process:
        with pytest.raises(StoreError, match="it is damaged"):
            process.call(fail)
        assert process.call(tell, text="ä") == "ä"


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT])
def test_a_process_that_dies_is_said_and_another_takes_its_place(number):
    with ChildProcess() as process:
        first = process.call(own_id)
        with pytest.raises(ChildCrashedError, match=f"signal {number:d}"):
            process.call(end, number)
        assert process.call(own_id) not in (first, os.getpid())


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_process_that_is_ended_from_outside_says_nothing_of_its_work(number):
    with ChildProcess() as process:
        first = process.call(own_id)
        with pytest.raises(ChildKilledError, match=f"was ended .signal {number:d}"):
            process.call(end, number)
        assert process.call(own_id) not in (first, os.getpid())


def test_a_process_that_leaves_by_itself_is_said():
    with ChildProcess() as process, pytest.raises(ChildCrashedError, match="exit code 3"):
        process.call(leave, 3)


def test_what_is_printed_there_is_no_answer():
    with ChildProcess() as process:
        assert process.call(chat) is None
        assert process.call(tell, "well") == "well"


def test_what_is_logged_there_is_logged_here(caplog):
    with caplog.at_level(logging.INFO, "slidemill"), ChildProcess() as process:
        process.call(tell, "done")
    assert [record.getMessage() for record in caplog.records] == ["half of it: done"]


def test_nothing_is_left_running():
    with ChildProcess() as process:
        child = process.call(own_id)
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_ctrl_c_is_the_parents():
    with ChildProcess() as process:
        first = process.call(own_id)
        process.call(end, signal.SIGINT)
        assert process.call(own_id) == first


def test_a_process_that_is_closed_while_it_starts_is_ended(monkeypatch):
    """A timer may close it before its child is known; nothing would end the child then."""
    started = []

    process, begin = ChildProcess(), child_process._start

    def start():
        child = begin()
        started.append(child[0])
        process.close()
        return child

    monkeypatch.setattr(child_process, "_start", start)
    with pytest.raises(ChildCrashedError, match="closed"):
        process.call(own_id)
    assert not started[0].is_alive()
