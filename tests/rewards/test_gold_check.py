import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from lit_rlvr.data import PromptFields, PromptFile
from lit_rlvr.rewards import ExactAnswer, MathReward, OverlongPenalty, RewardFunction, Rubric, ThinkGate
from lit_rlvr.types import Completion, Prompt, Verdict


def prompts(*golds: str, source: str = "quiz") -> list[Prompt]:
    return [Prompt(f"row-{number}", (), answer=gold, source=source) for number, gold in enumerate(golds)]


@pytest.fixture(scope="module")
def reward() -> Iterator[MathReward]:
    function = MathReward(max_bad_golds=0.0)
    yield function
    function.close()


GOOD = ["72", "-1,234.5", r"\frac{1}{2}", "x^2+1", r"\text{Tuesday}", r"(-\infty, 2) \cup (3, 4]", r"\{1, 2\}", "(B)", r"40\%"]
GOOD += [
    r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}",
    r"12 \text{ cm}^2",
    r"1 - \frac{1}{\mathrm{e}}",
    "1011_2",
    "3t",
    "7ab",
]
GOOD += ["2.5e-6", r"x_1 = 2, x_2 = 3", r"30^\circ", r"\sqrt[3]{x+y}", r"\frac{n(n+1)}{2}", r"2 \pi r h", r"\$15"]


def test_gold_answers_that_can_be_verified_pass(reward: MathReward) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reward.check(prompts(*GOOD))


@pytest.mark.parametrize(
    ("gold", "problem"),
    [
        ("", "is empty"),
        (" \u200b", "is empty"),
        ("9" * 101, "101 digits in a row"),
        (r"\frac{1}{", "has unbalanced braces"),
        (r"3.2e5} \mathrm{~J", "has unbalanced braces"),
        ("!!", "does not parse as mathematics"),
        (r"\frac{0}{0}", "does not parse as mathematics"),
        (r"$3,$8$", "its '8' is ignored"),
        (r"$x = 4$, where $k$ is any integer with $\mho(k) = 7$", "its 'x' is ignored"),
    ],
)
def test_gold_answers_that_can_never_be_matched_are_refused(reward: MathReward, gold: str, problem: str) -> None:
    with pytest.raises(ValueError, match="1 of 2 gold answers") as raised:
        reward.check(prompts("72", gold))
    assert problem in str(raised.value)
    assert repr(gold[:80]) in str(raised.value)


def test_problems_are_reported_together(reward: MathReward) -> None:
    bad = [f"{number}}}" for number in range(7)]
    with pytest.raises(ValueError, match="braces") as raised:
        reward.check(prompts("1", *bad, "2", bad[0]))
    message = str(raised.value)
    assert message.startswith("8 of 10 gold answers (80.0%) cannot be verified")
    assert "prompt 'row-1' of 'quiz': '0}' has unbalanced braces\n" in message
    assert message.count("prompt 'row-") == 5
    assert "and 3 more\n" in message
    assert "Correct these answers or leave the rows out; `max_bad_golds` (0) is the share that is only warned of." in message


@pytest.mark.parametrize("function", [MathReward(max_bad_golds=0.1), ExactAnswer(max_bad_golds=0.1)])
def test_a_few_bad_rows_are_a_warning(function: RewardFunction) -> None:
    with pytest.warns(UserWarning, match=r"(?s)1 of 10 gold answers \(10\.0%\).*'row-3' of 'quiz': '' is empty"):
        function.check(prompts("1", "2", "3", "", *"456789"))
    with pytest.raises(ValueError, match="2 of 10"):
        function.check(prompts("1", "2", "3", "", "", *"56789"))


def test_ten_thousand_numbers_take_no_time_and_no_process() -> None:
    reward = MathReward()
    many = prompts(*(str(37 * number - 5000) for number in range(10_000)))
    start = time.process_time()
    reward.check(many)
    assert time.process_time() - start < 1.0
    assert all(worker._process is None for worker in reward._verifier._idle.queue)


class Remembering(RewardFunction):
    seen: Sequence[Prompt] = ()

    def __call__(self, prompt: Prompt, completion: Completion) -> Verdict:
        return Verdict(0.0)

    def check(self, prompts: Sequence[Prompt]) -> None:
        self.seen = prompts


def test_a_rubric_lets_every_function_look_through_gates_too() -> None:
    function, inner = Remembering(), Remembering()
    rows = prompts("1", "2")
    Rubric({"a": function, "b": ThinkGate(inner), "c": OverlongPenalty(10, 5)}).check(rows)
    assert function.seen == inner.seen == rows


def test_a_rubric_says_whose_check_failed() -> None:
    with pytest.raises(ValueError, match="is empty") as raised:
        Rubric({"length": OverlongPenalty(10, 5), "math": MathReward()}, {"math": 0.0}).check(prompts(""))
    assert raised.value.__notes__ == ["raised by the reward function 'math'"]


def test_the_share_of_bad_rows_is_a_share() -> None:
    with pytest.raises(ValueError, match=r"max_bad_golds must be between 0 and 1, got 2"):
        MathReward(max_bad_golds=2)


@pytest.mark.parametrize(
    ("name", "fields", "most"),
    [
        ("aime24.jsonl", PromptFields("messages", "meta.answer", "meta.unique_id"), 0),
        ("hmmt25.jsonl", PromptFields("messages", "answer", "id"), 0),
        ("amc23.jsonl", PromptFields("problem", "answer", "id"), 0),
        ("gsm8k_train_2k.jsonl", PromptFields(answer_pattern="#### (.+)$"), 0),
        ("olympiadbench.jsonl", PromptFields("question", "final_answer.0", "id"), 4),
    ],
)
def test_real_data_passes(
    real_data: Callable[[str], Path], reward: MathReward, name: str, fields: PromptFields, most: int
) -> None:
    problems = reward.gold_problems({prompt.answer for prompt in PromptFile(str(real_data(name)), fields, limit=80).load()})
    assert len(problems) <= most, problems


def test_a_careless_answer_pattern_is_noticed(real_data: Callable[[str], Path], reward: MathReward) -> None:
    greedy = PromptFields("problem", "solution", "idx", answer_pattern=r"\\boxed\{(.*)\}")
    rows = PromptFile(str(real_data("minerva_math.jsonl")), greedy, limit=40).load()
    with pytest.raises(ValueError, match="has unbalanced braces"):
        reward.check(rows)
