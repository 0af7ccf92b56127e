import pytest

from lit_rlvr.rewards import BoxedGate, ExactAnswer, OverlongPenalty, RewardFunction, ThinkFormat, ThinkGate
from lit_rlvr.types import Completion, Prompt, Verdict

PROMPT = Prompt("p1", (), answer="72")


def completion(text: str, length: int = 3) -> Completion:
    return Completion((0,) * length, (0.0,) * length, "stop", text=text)


def score(function: RewardFunction, done: Completion) -> float | None:
    verdict = function(PROMPT, done)
    return verdict.score if isinstance(verdict, Verdict) else verdict


@pytest.mark.parametrize(
    ("length", "penalty"),
    [(0, 0.0), (79, 0.0), (80, 0.0), (81, -0.1), (90, -1.0), (99, -1.9), (100, -2.0), (101, -2.0), (1000, -2.0)],
)
def test_the_overlong_penalty_grows_linearly_over_the_buffer(length: int, penalty: float) -> None:
    assert score(OverlongPenalty(max_tokens=100, buffer=20, factor=2.0), completion("", length)) == pytest.approx(
        penalty, abs=1e-12
    )


def test_a_buffer_as_long_as_the_limit_starts_at_the_first_token() -> None:
    assert score(OverlongPenalty(max_tokens=10, buffer=10), completion("", 1)) == pytest.approx(-0.1)


@pytest.mark.parametrize(
    ("buffer", "factor", "name"), [(0, 1.0, "buffer"), (101, 1.0, "buffer"), (10, 0.0, "factor"), (10, -1.0, "factor")]
)
def test_overlong_settings_that_cannot_be_meant_are_refused(buffer: int, factor: float, name: str) -> None:
    with pytest.raises(ValueError, match=name):
        OverlongPenalty(max_tokens=100, buffer=buffer, factor=factor)


@pytest.mark.parametrize(
    ("text", "in_prompt", "well_formed"),
    [
        ("<think>a</think>72", False, True),
        (" \n<think>a</think>\n72", False, True),
        ("<think></think>72", False, True),
        ("a</think>72", False, False),
        ("<think>a 72", False, False),
        ("72", False, False),
        ("<think>a</think>", False, False),
        ("<think>a</think> \n", False, False),
        ("well <think>a</think>72", False, False),
        ("</think>a<think>72", False, False),
        ("<think>a</think>72</think>", False, False),
        ("<think>a</think><think>b</think>72", False, False),
        ("a</think>72", True, True),
        ("<think>a</think>72", True, False),
        ("72", True, False),
    ],
)
def test_one_pair_of_think_markers_before_an_answer(text: str, in_prompt: bool, well_formed: bool) -> None:
    function = ThinkFormat(correct_score=0.5, incorrect_score=-0.25, prompt_opens_think=in_prompt)
    assert score(function, completion(text)) == (0.5 if well_formed else -0.25)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"<think>a</think>\boxed{72}", 1.0),
        (r"<think>a</think>\boxed{71}", -1.0),
        (r"<think>a</think>72", -1.0),
        (r"a</think>\boxed{72}", -2.0),
        (r"<think>a \boxed{72}", -0.5),
        (r"\boxed{72}", -0.5),
    ],
)
def test_klears_gates_come_in_klears_order(text: str, expected: float) -> None:
    assert score(ThinkGate(ExactAnswer(correct_score=1.0, incorrect_score=-1.0)), completion(text)) == expected


def test_the_opening_marker_may_be_in_the_prompt() -> None:
    gate = ThinkGate(ExactAnswer(), prompt_opens_think=True)
    assert score(gate, completion(r"a</think>\boxed{72}")) == 1.0
    assert score(gate, completion(r"a \boxed{72}")) == -0.5


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"<think>a</think>\boxed{72}", 1.0),
        (r"<think>a</think>\boxed{71}", 0.0),
        (r"<think>\boxed{72}</think>72", -0.5),
        (r"72", -0.5),
        (r"\boxed{72", -0.5),
        (r"\boxed{ }", -0.5),
    ],
)
def test_a_gate_asks_for_a_box_before_anything_is_paid(text: str, expected: float) -> None:
    anywhere = ExactAnswer(pattern=r"(\d+)(?=\D*$)")
    gate = BoxedGate(anywhere, missing_box=-0.5)
    assert score(gate, completion(text)) == expected


def test_gates_can_be_nested() -> None:
    gate = ThinkGate(BoxedGate(ExactAnswer(correct_score=1.0, incorrect_score=-1.0), missing_box=-1.5))
    texts = [r"<think>a</think>\boxed{72}", r"<think>a</think>\boxed{7}", "<think>a</think>72", r"\boxed{72}", r"a</think>"]
    assert [score(gate, completion(text)) for text in texts] == [1.0, -1.0, -1.5, -0.5, -2.0]


class Closing(RewardFunction):
    closed = 0

    def __call__(self, prompt: Prompt, completion: Completion) -> Verdict:
        return Verdict(None, "no judge")

    def close(self) -> None:
        self.closed += 1


def test_the_gate_hands_on_errors_and_closing() -> None:
    inner = Closing()
    gate = ThinkGate(inner)
    assert gate(PROMPT, completion("<think></think>1")) == Verdict(None, "no judge")
    gate.close()
    assert inner.closed == 1
