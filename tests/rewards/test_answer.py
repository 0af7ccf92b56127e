import re
import time

import pytest

from lit_rlvr.rewards.answer import MAX_DIGITS, clean, extract_answer, gold_after_marker, last_boxed


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"It is \boxed{42}.", "42"),
        (r"\boxed{1}, no: then the sum is \boxed{2}", "2"),
        (r"\boxed{\frac{1}{\sqrt{2}}}", r"\frac{1}{\sqrt{2}}"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed {7}", "7"),
        (r"\\boxed{7}", "7"),
        (r"\fbox{7}", "7"),
        (r"\boxed{ \boxed{\boxed{7}} }", "7"),
        (r"\boxed{x = \boxed{7}}", r"x = \boxed{7}"),
        (r"stray } and { then \boxed{7}6}", "7"),
        (r"\boxed{7} and then an open \boxed{8", "7"),
        (r"$\boxed{1}$ and $\boxed{-2}$", "1, -2"),
        (r"\boxed{6},\ \boxed{5}", "6, 5"),
        (r"$x = \boxed{6}$ or $y_1 = \boxed{5}$", "6, 5"),
        (r"\boxed{5} \boxed{5}", "5"),
        (r"<think>\boxed{1}</think> so \boxed{2}", "2"),
        (r"</think>\boxed{1}</think>\boxed{2}", "2"),
    ],
)
def test_the_last_balanced_box_after_the_thinking_is_the_answer(text: str, answer: str) -> None:
    found = extract_answer(text)
    assert (found.text, found.problem) == (answer, "")


def test_a_box_inside_the_thinking_does_not_count() -> None:
    found = extract_answer(r"<think>\boxed{1}</think> It is one.")
    assert found.text == ""
    assert found.problem == "no boxed answer after </think>"


def test_the_marker_of_the_thinking_is_a_setting() -> None:
    assert extract_answer(r"\boxed{1}</think> one", think_end="").text == "1"
    assert extract_answer(r"\boxed{1}[/THINK]\boxed{2}", think_end="[/THINK]").text == "2"


def test_a_pattern_takes_its_last_match() -> None:
    assert extract_answer("answer: 1\nanswer: 23\n", re.compile(r"answer: (\d+)")).text == "23"
    assert extract_answer("1 then 23", re.compile(r"\d+")).text == "23"
    assert extract_answer("  all of it \n", re.compile(r"(?s)\A(.*)\Z")).text == "all of it"
    assert "no match" in extract_answer("nothing", re.compile(r"answer: (\d+)")).problem


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("５", "5"),
        ("4\u200b2\ufeff", "42"),
        ("−3", "-3"),
        ("3²", "3^{2}"),
        ("10⁻¹²", "10^{-12}"),
        ("101₂", "101_{2}"),
        ("3½", r"3\frac{1}{2}"),
        ("x\u00a0=\u00a01", "x = 1"),
    ],
)
def test_cleaning_changes_the_spelling_and_never_the_value(raw: str, cleaned: str) -> None:
    assert clean(raw) == cleaned


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("1+" * 256 + "1", "513 characters"),
        ("9" * (MAX_DIGITS + 1), "101 digits"),
        ("(" * 41 + "5" + ")" * 41, "nesting of 41"),
        ("", "empty"),
        ("\u200b", "empty"),
    ],
)
def test_an_answer_over_the_limits_is_refused_with_the_reason(content: str, reason: str) -> None:
    found = extract_answer(rf"\boxed{{{content}}}")
    assert found.text == ""
    assert reason in found.problem


def test_answers_at_the_limits_are_kept() -> None:
    for content in ("1+" * 255 + "11", "9" * MAX_DIGITS, "(" * 40 + "5" + ")" * 40):
        assert extract_answer(rf"\boxed{{{content}}}").text == content


@pytest.mark.parametrize(
    "text",
    [
        r"\boxed{" * 100_000,
        "{" * 500_000,
        r"\boxed" + " " * 500_000,
        r"\boxed{1}" * 60_000,
        r"\\" * 300_000,
        "</think>" * 60_000,
    ],
)
def test_extraction_of_long_hostile_text_takes_linear_time(text: str) -> None:
    start = time.process_time()
    extract_answer(text)
    assert time.process_time() - start < 3.0


def test_no_box_is_not_an_empty_answer() -> None:
    assert last_boxed("no box at all") is None
    assert last_boxed(r"\boxed{}") == ""


def test_the_gold_answer_after_a_marker() -> None:
    assert gold_after_marker("48/2 = <<48/2=24>>24\n#### 1,072 ") == "1,072"
    assert gold_after_marker("#### 1\nso A: 5", marker="A:") == "5"
    with pytest.raises(ValueError, match="no answer after the marker '####' in the solution ending with 'it is 72'"):
        gold_after_marker("it is 72")
    with pytest.raises(ValueError, match="no answer after"):
        gold_after_marker("it is 72 #### ")
