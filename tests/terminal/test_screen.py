"""Messages and the status line, on terminals and elsewhere."""

import io

import pytest

from slidemill.terminal._screen import Screen


class Stream(io.StringIO):
    """A stream that may be a terminal."""

    encoding = "utf-8"

    def __init__(self, is_terminal):
        super().__init__()
        self.isatty = lambda: is_terminal


def screen(is_terminal=True, **environment):
    stream = Stream(is_terminal)
    return Screen(stream, {"COLUMNS": "20", **environment}), stream


def test_file_gets_messages_without_control_characters():
    one, stream = screen(is_terminal=False)
    one.show("50 %")
    one.say("first\nsecond", "red")
    one.clear()
    assert stream.getvalue() == "first\nsecond\n"


def test_status_stays_below_messages():
    one, stream = screen()
    one.show("50 %")
    one.say("a message")
    one.clear()
    assert stream.getvalue() == "50 %\r\x1b[Ka message\n50 %\r\x1b[K"


def test_status_fits_the_terminal():
    one, stream = screen()
    one.show("x" * 50)
    assert stream.getvalue() == "x" * 19


@pytest.mark.parametrize(
    ("environment", "expected"),
    [({}, "\x1b[31mbad\x1b[0m\nmore\n"), ({"NO_COLOR": "1"}, "bad\nmore\n"), ({"TERM": "dumb"}, "bad\nmore\n")],
    ids=["colour", "NO_COLOR", "dumb"],
)
def test_first_line_is_coloured(environment, expected):
    one, stream = screen(**environment)
    one.say("bad\nmore", "red")
    assert stream.getvalue() == expected


def test_dumb_terminal_gets_no_status():
    one, stream = screen(TERM="dumb")
    one.show("50 %")
    assert stream.getvalue() == ""


def test_closed_stream_is_ignored():
    one, stream = screen()
    stream.close()
    one.say("nobody reads this")
    one.show("nor this")
