import pytest

from lit_rlvr.rewards import LanguageConsistency
from lit_rlvr.rewards.language import letters_by_script
from lit_rlvr.types import Completion, Prompt


def share(text: str, *scripts: str) -> float | None:
    function = LanguageConsistency(scripts) if scripts else LanguageConsistency()
    return function(Prompt("p1", ()), Completion((1,), (0.0,), "stop", text=text)).score


@pytest.mark.parametrize(
    ("text", "scripts", "expected"),
    [
        ("All of it is English, naïve façade included.", (), 1.0),
        ("四个字 and six", (), 6 / 9),
        ("Привет, мир", ("CYRILLIC",), 1.0),
        ("Привет, мир", (), 0.0),
        ("これは漢字とカタカナ", ("HIRAGANA", "KATAKANA", "CJK"), 1.0),
        ("12 + 30 = 42", (), 1.0),
        ("", (), 1.0),
        ("the angle is θ, the area πr²", (), 1.0),
        (r"所以 $x + y = \frac{1}{2}$ 成立", ("CJK",), 1.0),
        (r"so $\text{所以}$ it is", (), 6 / 8),
        (r"\[ abc \] да", ("CYRILLIC",), 1.0),
    ],
)
def test_the_share_of_letters_in_the_wanted_scripts(text: str, scripts: tuple[str, ...], expected: float) -> None:
    assert share(text, *scripts) == pytest.approx(expected)


def test_the_detail_names_the_other_scripts() -> None:
    verdict = LanguageConsistency()(Prompt("p1", ()), Completion((1,), (0.0,), "stop", text="ab 你好 да я"))
    assert verdict.detail == "2 of 7 letters; 3 CYRILLIC, 2 CJK"


def test_letters_are_counted_by_script() -> None:
    assert letters_by_script("a1b2-_ é 中 ℝ 𝑥 α") == {"LATIN": 3, "CJK": 1}


def test_scripts_that_no_letter_has_are_refused() -> None:
    with pytest.raises(ValueError, match=r"scripts \['ENGLISH', 'latin'\] begin no letter's Unicode name"):
        LanguageConsistency(["latin", "ENGLISH", "CJK"])
    with pytest.raises(ValueError, match="empty"):
        LanguageConsistency([])
