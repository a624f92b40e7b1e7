"""A real terminal: a pseudo-terminal of 80x24 runs the program, keys are typed, and what it leaves behind is looked at."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time

import pytest
from support.fake_runs import make_run

PROGRAM = [sys.executable, "-m", "tuitrain"]
DEADLINE_S = 30.0


class Terminal:
    """A child process on a pseudo-terminal."""

    def __init__(self, command, env, size=(24, 80)):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=env, start_new_session=True)
        self.output = b""

    def read(self, seconds):
        """Take what comes within some seconds."""
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            ready, _, _ = select.select([self.master], [], [], 0.05)
            if ready:
                with contextlib.suppress(OSError):
                    self.output += os.read(self.master, 1 << 16)
            elif self.process.poll() is not None:
                return

    def wait_for(self, text):
        """Read until the text was drawn."""
        end_s = time.monotonic() + DEADLINE_S
        while text not in self.output:
            assert time.monotonic() < end_s, f"{text!r} never came: {self.output[-2000:]!r}"
            assert self.process.poll() is None, f"it ended: {self.output[-2000:]!r}"
            self.read(0.1)

    def type(self, keys):
        """Press keys."""
        os.write(self.master, keys)

    def end(self):
        """The exit code, once it ended by itself."""
        end_s = time.monotonic() + DEADLINE_S
        while self.process.poll() is None and time.monotonic() < end_s:
            self.read(0.1)
        self.read(0.3)
        return self.process.returncode

    def close(self):
        """Whatever happened, nothing stays behind."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def start(tmp_path):
    """start(**environment) -> a Terminal with the interface in it."""
    running = []

    def launch(command=PROGRAM, size=(24, 80), **environment):
        base = {name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH", "VIRTUAL_ENV") if name in os.environ}
        env = {**base, "TERM": "xterm-256color", "LANG": "C.UTF-8", "TUITRAIN_HOME": str(tmp_path / "home"), **environment}
        terminal = Terminal(command, env, size)
        running.append(terminal)
        return terminal

    yield launch
    for terminal in running:
        terminal.close()


def test_start_and_quit(start):
    terminal = start()
    terminal.wait_for(b"Watch a 3-minute demo training")
    terminal.type(b"q")
    assert terminal.end() == 0
    assert b"Traceback" not in terminal.output
    assert termios.tcgetattr(terminal.slave)[3] == terminal.before[3], "terminal modes were not restored"
    assert b"\x1b[?1049l" in terminal.output, "the alternate screen was not left"


def test_live_run_is_shown_and_goes_on(start, tmp_path):
    make_run(tmp_path / "home" / "runs", "live", total=240)
    terminal = start()
    terminal.wait_for(b"demo-20251009-085320-live")
    terminal.type(b"\r")
    terminal.wait_for(b"tok/s")
    terminal.type(b"q")
    assert terminal.end() == 0
    assert b"1 run keeps training; `tuitrain` re-attaches" in terminal.output
    assert b"Traceback" not in terminal.output


def test_hostile_names_samples_and_logs_send_no_sequence_of_theirs(start, tmp_path):
    make_run(tmp_path / "home" / "runs", "hostile", total=240)
    terminal = start(size=(40, 120))
    terminal.wait_for(b"demo-20251009")
    terminal.type(b"\r")
    terminal.wait_for(b"older")
    terminal.type(b"l")
    terminal.read(1.0)
    terminal.type(b"q")
    assert terminal.end() == 0
    assert b"owned" not in terminal.output, "a title was set"
    assert "\x9b" not in terminal.output.decode(errors="replace")
    assert "\u202e".encode() not in terminal.output
    assert terminal.output.count(b"\x1b[?1049l") == 1, "only we leave the alternate screen"


def test_a_c_locale_gets_ascii(start):
    terminal = start(LANG="C")
    terminal.wait_for(b"Watch a 3-minute demo training")
    terminal.type(b"?")
    terminal.read(1.0)
    terminal.type(b"\x1b")
    terminal.read(0.5)
    terminal.type(b"q")
    assert terminal.end() == 0
    assert terminal.output.isascii(), sorted({byte for byte in terminal.output if byte > 127})


def test_no_color_sends_no_colour(start):
    terminal = start(NO_COLOR="1")
    terminal.wait_for(b"Watch a 3-minute demo training")
    terminal.type(b"q")
    assert terminal.end() == 0
    assert not re.search(rb"\x1b\[[0-9;]*(38|48);[25];", terminal.output), "an indexed or true colour"


@pytest.mark.parametrize("environment", [{"TERM": "dumb"}, {"TERM": "dumb", "LANG": "C"}])
def test_a_dumb_terminal_gets_text_and_an_honest_word(start, tmp_path, environment):
    make_run(tmp_path / "home" / "runs", "finished", total=240)
    terminal = start(**environment)
    assert terminal.end() == 0
    assert b"FINISHED" in terminal.output
    assert b"no terminal the interface can draw on" in terminal.output
    assert b"\x1b" not in terminal.output


def test_a_pipe_gets_text(tmp_path):
    env = dict(os.environ, TUITRAIN_HOME=str(tmp_path / "home"))
    done = subprocess.run(PROGRAM, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)
    assert done.returncode == 0
    assert done.stdout == ""
    assert "no runs yet" in done.stderr


def test_the_interface_never_imports_torch():
    code = "import sys, tuitrain.tui.app; print(sorted({'torch', 'transformers', 'pydantic', 'typer'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_the_plain_renderers_never_import_textual():
    code = "import sys, tuitrain.tui.render.plain, tuitrain.tui.store\n"
    code += "print(sorted({'textual', 'rich', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
