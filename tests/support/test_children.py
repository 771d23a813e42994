"""A fork is a process like any other: what is true of `python -m` is true of it."""

import os
import signal
import subprocess
import sys

import pytest

from tests.support.children import start_module

MODULE = "tests.support.talking"


@pytest.fixture(params=[True, False], ids=["forked", "started"])
def start(request, tmp_path):
    def begin(*arguments, **environment):
        everything = {**os.environ, **environment}
        return start_module(MODULE, arguments, tmp_path / "log", everything, fork=request.param)

    return begin


@pytest.fixture
def said(tmp_path):
    return lambda: (tmp_path / "log").read_text().splitlines()


def test_has_arguments_an_environment_and_a_log_of_its_own(start, said):
    process = start("say", "a word", TALKING="yes")
    assert process.wait(20) == 0
    assert said() == ["__main__ a word yes", f"process {process.pid}", "at exit"]
    assert "TALKING" not in os.environ


def test_lacks_what_its_environment_lacks(start, said, monkeypatch):
    monkeypatch.delenv("HOME")
    assert start("variable", "HOME").wait(20) == 0
    assert said() == ["None"]


@pytest.mark.parametrize(("what", "code"), [("exit", 3), ("refuse", 1), ("raise", 1)])
def test_ends_with_its_exit_code(start, said, what, code):
    process = start(what)
    assert process.wait(20) == code
    assert process.poll() == process.returncode == code
    assert said()[-1:] == {"exit": [], "refuse": ["not so"], "raise": ["ZeroDivisionError: division by zero"]}[what]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_dies_of_a_signal(start, number):
    process = start("wait")
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.05)
    process.send_signal(number)
    assert process.wait(20) == -number
    process.kill()  # of a process that is gone: nothing


@pytest.mark.skipif(sys.platform != "linux", reason="other systems start each process anew")
def test_a_fork_has_imported_the_program_already(start, said, request):
    assert start("modules").wait(20) == 0
    assert said()[0] == str("forked" in request.node.name)
