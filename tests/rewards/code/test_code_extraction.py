import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lit_rlvr.rewards.code import extract_program

TICKS = "```"


@pytest.mark.parametrize(
    ("text", "program"),
    [
        (f"Sure.\n{TICKS}python\nprint(1)\n{TICKS}\nDone.", "print(1)\n"),
        (f"{TICKS}py\na\n{TICKS}\nor\n{TICKS}Python3\nb\n{TICKS}", "b\n"),
        (f"{TICKS}\nbare\n{TICKS}", "bare\n"),
        (f"{TICKS}python\nx\n{TICKS}\nIt prints\n{TICKS}text\n7\n{TICKS}\n", "x\n"),
        (f"{TICKS}cpp\nint x;\n{TICKS}\n{TICKS}python\ny\n{TICKS}\n", "y\n"),
        (f"<think>{TICKS}python\ndraft\n{TICKS}</think>{TICKS}python\nfinal\n{TICKS}", "final\n"),
        (f"</think>a</think>{TICKS}\nlast\n{TICKS}", "last\n"),
        (f"The answer: {TICKS}python\nx = 1\n{TICKS}", "x = 1\n"),
        (f"1. so:\n   {TICKS}python\n   if x:\n       y\n\n   {TICKS}", "if x:\n    y\n\n"),
        (f"{TICKS}python\r\na = 1\r\nb\r\n{TICKS}\r\n", "a = 1\nb\n"),
        (f"{TICKS}`python\nx\n{TICKS}\ny\n{TICKS}`\n", f"x\n{TICKS}\ny\n"),
        (f"{TICKS}python\nx = '{TICKS}'\n{TICKS}", f"x = '{TICKS}'\n"),
        (f"{TICKS}python title='a b'\nx\n{TICKS} That is all.\nBye", "x\n"),
        (f"{TICKS}python\nfirst\n{TICKS}\nbetter:\n{TICKS}python\ncut", "first\n"),
        (f"{TICKS}python\nforgot to close\n{TICKS}python\nsecond\n{TICKS}", "second\n"),
        (f"{TICKS}python\nsame line {TICKS}\nx\n{TICKS}", f"same line {TICKS}\nx\n"),
    ],
)
def test_the_last_closed_block_of_python_is_the_program(text: str, program: str) -> None:
    found = extract_program(text)
    assert (found.text, found.problem) == (program, "")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("print(1)", "no Python code block in the completion"),
        ("<think>x</think>print(1)", "no Python code block after </think>"),
        (f"<think>{TICKS}python\nx\n{TICKS}</think> 7", "no Python code block after </think>"),
        (f"{TICKS}python\nprint(1)", "the code block is not closed in the completion"),
        (f"{TICKS}cpp\nint x;\n{TICKS}", "no Python code block in the completion"),
        (f"{TICKS}python\n  \n{TICKS}", "the code block is empty"),
        (f"{TICKS}python\n'\ud800'\n{TICKS}", r"not valid Unicode \(surrogates not allowed\)"),
        (f"{TICKS}python\n{'x' * 100}\n{TICKS}", "program rejected: 101 bytes, at most 100"),
        (f"{TICKS}python\n{'é' * 60}\n{TICKS}", "program rejected: 121 bytes, at most 100"),
        ("", "no Python code block"),
    ],
)
def test_without_a_program_there_is_a_reason(text: str, problem: str) -> None:
    found = extract_program(text, max_bytes=100)
    assert found.text == ""
    assert re.search(problem, found.problem), found.problem


def test_the_marker_is_a_setting() -> None:
    text = f"{TICKS}\ndraft\n{TICKS}\n[/THINK]\n{TICKS}\nfinal\n{TICKS}\n</think>"
    assert extract_program(text, think_end="[/THINK]").text == "final\n"
    assert extract_program(text, think_end="").text == "final\n"
    assert extract_program(text).problem == "no Python code block after </think>"


@pytest.mark.parametrize(
    "text",
    [
        "`" * 1_000_000,
        "`" * 999_999 + "x`",
        f"{TICKS}\n" * 100_000,
        f"{TICKS}python\n" * 100_000,
        f"{TICKS}python x`" * 100_000,
        "</think>" * 125_000 + TICKS,
        "\n" * 1_000_000,
        f"{TICKS}python\n" + " " * 1_000_000 + TICKS,
    ],
    ids=["backticks", "run", "bare", "named", "one line", "markers", "blank lines", "spaces"],
)
def test_hostile_text_takes_linear_time(text: str) -> None:
    start = time.process_time()
    extract_program(text)
    assert time.process_time() - start < 5.0


@given(st.lists(st.sampled_from(["```", "````", "python", "cpp", "\n", " ", "x", "\r\n", "</think>"])).map("".join))
def test_it_never_raises_and_gives_a_program_or_a_reason(text: str) -> None:
    found = extract_program(text)
    assert (found.text == "") == (found.problem != "")
