"""What a batch shows of itself while it runs: on a real terminal, in a log, to a function."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
import time
from contextlib import redirect_stderr, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.batch.test_tally import Clock
from typedllm import LLM, Scripted
from typedllm.batch.progress import Progress, reporting
from typedllm.batch.tally import Snapshot
from typedllm.errors import EngineError, UsageError
from typedllm.records import Result, Usage

GOOD = Result(value=1, attempts=1, usage=Usage(input_tokens=20, output_tokens=10))
BAD = Result(error=EngineError("no"), attempts=2)
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A terminal of 100 columns that is standard error in a `with` block."""

    def __init__(self) -> None:
        self._screen, end = pty.openpty()
        fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
        self.stream = os.fdopen(end, "w")
        self._said = bytearray()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        try:
            while piece := os.read(self._screen, 4096):
                self._said += piece
        except OSError:  # the other end is closed
            pass

    def __enter__(self) -> Terminal:
        self._redirected = redirect_stderr(self.stream)
        self._redirected.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._redirected.__exit__(*error)
        self.stream.close()
        self._reader.join(10)
        os.close(self._screen)

    @property
    def text(self) -> str:
        """All that was written, after the block."""
        return self._said.decode()


@pytest.fixture(autouse=True)
def ordinary(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing in the environment says that a terminal is another kind of one."""
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


def plain(text: str) -> str:
    return ANSI.sub("", text)


def test_a_terminal_shows_a_bar_and_in_the_end_a_line(
    capfd: pytest.CaptureFixture[str],
):
    with Terminal() as terminal, reporting(True, 200) as report:
        for _ in range(99):
            report.add(GOOD)
        report.add(BAD)
        time.sleep(0.4)  # of which it is drawn three times
    text = terminal.text
    shown = plain(text)
    assert "━" in shown and "100 of 200 rows (50%), 1 failed (EngineError 1)" in shown
    assert re.search(r"rows/s,\s+[\d,.]+ tokens/s in", shown) and " left" in shown
    assert re.search(r"100 of 200 rows .* in 0\.\d s, .* out\r\n$", shown)
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") > 0  # the cursor is back
    assert capfd.readouterr().out == ""


def test_a_bar_is_drawn_some_times_a_second_at_most():
    begun = time.monotonic()
    with Terminal() as terminal, reporting(True, None) as report:
        while time.monotonic() < begun + 0.5:
            report.add(GOOD)
    seconds = time.monotonic() - begun
    assert 2 <= terminal.text.count("rows/s") <= 10 * seconds + 3


def test_a_bar_that_is_stopped_leaves_a_line_and_the_cursor():
    with Terminal() as terminal, pytest.raises(KeyboardInterrupt), reporting(True, 3) as report:
        report.add(GOOD)
        raise KeyboardInterrupt
    text = terminal.text
    assert plain(text).count("stopped after 1 of 3 rows (33%)") == 1
    assert text.rstrip().rfind("\x1b[?25h") > text.rfind("\x1b[?25l")


def test_batches_at_the_same_time_share_the_terminal():
    together = threading.Barrier(5)

    def work(number: int) -> None:
        with reporting(True, 10 + number) as report:
            together.wait()
            for _ in range(number):
                report.add(GOOD)
                time.sleep(0.05)

    threads = [threading.Thread(target=work, args=[number]) for number in range(1, 6)]
    with Terminal() as terminal:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
            assert not thread.is_alive()
        with reporting(True, 0):  # and one alone after them, of nothing
            pass
    shown = plain(terminal.text)
    for number in range(1, 6):
        assert len(re.findall(rf"{number} of {10 + number} rows \(\d+%\) in 0\.\d s", shown)) == 1
    assert "0 of 0 rows in 0.0 s" in shown


def test_what_the_program_prints_goes_where_it_printed_it(
    capfd: pytest.CaptureFixture[str],
):
    before = sys.stdout
    with Terminal(), reporting(True, 1) as report:
        assert sys.stdout is before
        print("answer")
        report.add(GOOD)
    assert capfd.readouterr().out == "answer\n"


def test_a_dumb_terminal_gets_lines(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TERM", "dumb")
    with Terminal() as terminal, reporting(True, 1) as report:
        report.add(GOOD)
    text = terminal.text
    assert text.startswith("1 of 1 row (100%) in ") and "\x1b" not in text


def test_a_log_gets_a_line_every_five_seconds(capsys: pytest.CaptureFixture[str]):
    clock = Clock()
    with reporting(True, 100, clock=clock) as report:
        for _ in range(98):
            clock.now += 0.125
            report.add(GOOD)
    out, err = capsys.readouterr()
    first, second, last = err.splitlines()
    assert out == "" and err.isascii() and "\x1b" not in err and "\r" not in err
    assert first == "40 of 100 rows (40%), 8.0 rows/s, 160 tokens/s in, 80.0 out, 7.5 s left"
    assert second.startswith("80 of 100 rows (80%), ")
    assert last == "98 of 100 rows (98%) in 12 s, 8.0 rows/s, 160 tokens/s in, 80.0 out"


def test_a_batch_that_raises_says_how_far_it_came(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(ValueError), reporting(True, None) as report:
        report.add(GOOD)
        raise ValueError
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("stopped after 1 row in 0.0 s, ")


@pytest.mark.parametrize("stream", ["closed", "none", "full"])
def test_standard_error_may_be_of_no_use(stream: str):
    with suppress(OSError), open("/dev/full", "w") as full:  # noqa: PTH123
        if stream == "closed":
            full.close()
        clock = iter(range(0, 1000, 100)).__next__
        useless = redirect_stderr(None if stream == "none" else full)
        with useless, reporting(True, 1, clock=clock) as report:
            report.add(GOOD)
        stream = "came to the end"
    assert stream == "came to the end"


def test_a_terminal_that_goes_away_stops_nothing():
    with Terminal() as terminal, reporting(True, 2) as report:
        report.add(GOOD)
        terminal.stream.close()
        report.add(GOOD)


def test_a_function_is_called_after_each_row():
    told: list[Snapshot] = []
    with reporting(told.append, 3) as report:
        for result in (GOOD, BAD, GOOD):
            report.add(result)
    assert [(seen.done, seen.ok, seen.total) for seen in told] == [(1, 1, 3), (2, 1, 3), (3, 2, 3)]
    assert told[-1].failures == {"EngineError": 1} and told[-1].usage.input_tokens == 40


def test_an_error_of_the_function_is_the_callers():
    def tell(seen: Snapshot) -> None:
        raise LookupError(seen.done)

    with pytest.raises(LookupError), reporting(tell, 1) as report:
        report.add(GOOD)


def test_false_is_silent(capfd: pytest.CaptureFixture[str]):
    with reporting(False, 1) as report:
        report.add(GOOD)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("progress", [None, "yes", 1])
def test_progress_of_another_kind_is_an_error(progress: Progress):
    with (
        pytest.raises(UsageError, match="progress: expected True, False or a function"),
        reporting(progress, 1),
    ):
        pass


def test_a_batch_tells_of_itself(capsys: pytest.CaptureFixture[str]):
    engine = Scripted(lambda _: {"n": 1})
    assert LLM(engine).batch(["a", "b"], {"n": "int"}, progress=True).ok == 2
    assert capsys.readouterr().err.startswith("2 of 2 rows (100%) in ")
    assert len(list(LLM(engine).iter_batch(iter("abc"), {"n": "int"}, progress=True))) == 3
    assert capsys.readouterr().err.startswith("3 rows in ")


@pytest.mark.slow
def test_rich_is_imported_for_a_bar_only(tmp_path: Path):
    program = tmp_path / "program.py"
    program.write_text(
        "import sys\n"
        "from typedllm import LLM, Scripted\n"
        "LLM(Scripted(lambda _: {'n': 1})).batch(['a'], {'n': 'int'}, progress=True)\n"
        "assert 'rich' not in sys.modules and 'pyarrow' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, str(program)], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert done.stderr.startswith("1 of 1 row (100%) in ")
