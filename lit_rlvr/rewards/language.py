"""A reward for staying in one language, told by its script."""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

from lit_rlvr.rewards.base import RewardFunction
from lit_rlvr.rewards.self_test import SelfTest
from lit_rlvr.types import Completion, Prompt, Verdict

_FORMULA = re.compile(r"\\[a-zA-Z]+|\$\$.*?\$\$|\$[^$\n]*\$|\\\[.*?\\\]|\\\(.*?\\\)", re.DOTALL)
_SYMBOLS = {"GREEK", "MATHEMATICAL", "DOUBLE-STRUCK", "SCRIPT", "BLACK-LETTER", "ANGSTROM", "OHM", "MICRO"}
"""Beginnings of the names of letters that stand for quantities in any language."""
SAMPLES = {"LATIN": "words", "CYRILLIC": "слова", "CJK": "文字", "HANGUL": "한글", "ARABIC": "كلمات", "HEBREW": "מילים"}
"""A text in each of some scripts."""


class LanguageConsistency(RewardFunction):
    """Pays the share of a completion's letters that are of the wanted scripts: 1 when all are, and for a text without letters.

    After DeepSeek-R1 (arXiv:2501.12948, section 2.3.2), which adds the share of words in the target language to the reward so that
    reasoning does not switch languages. Letters are counted instead of words, which needs no word lists and no list of words to
    be gamed with; languages that share a script are not told apart. LaTeX commands, and Latin and Greek letters in formulas, are left
    out.

    Args:
        scripts: first words of the Unicode names of the letters, in capitals: LATIN, CYRILLIC, ARABIC, HEBREW, DEVANAGARI; CJK,
            HIRAGANA and KATAKANA for Japanese, CJK for Chinese, HANGUL and CJK for Korean.

    Raises:
        ValueError: no script, or one of which no letter's name begins so.
    """

    def __init__(self, scripts: Sequence[str] = ("LATIN",)) -> None:
        if not scripts:
            raise ValueError("scripts is empty: no letter could be right")
        if unknown := sorted(set(scripts) - _all_scripts()):
            raise ValueError(f"scripts {unknown} begin no letter's Unicode name; write for example LATIN, CYRILLIC or CJK")
        self.scripts = tuple(scripts)

    def __call__(self, prompt: Prompt, completion: Completion) -> Verdict:
        """Return the share, between 0 and 1."""
        found = letters_by_script(_FORMULA.sub(_without_latin, completion.text))
        total = found.total()
        wanted = sum(found[script] for script in self.scripts)
        others = ", ".join(f"{count} {script}" for script, count in found.most_common() if script not in self.scripts)
        return Verdict(wanted / total if total else 1.0, f"{wanted} of {total} letters" + (f"; {others}" if others else ""))

    def self_test(self, prompt: Prompt) -> SelfTest:
        """Return a text in one of the scripts, and one in none of them."""
        right = next((text for script, text in SAMPLES.items() if script in self.scripts), None)
        wrong = next((text for script, text in SAMPLES.items() if script not in self.scripts), None)
        return SelfTest(right, wrong, "$" * 20_000)


def letters_by_script(text: str) -> Counter[str]:
    """Count the letters of a text by the first word of their Unicode names, without symbols of mathematics.

    >>> dict(letters_by_script("pi is π, 圆周率"))
    {'LATIN': 4, 'CJK': 3}
    """
    scripts: Counter[str] = Counter()
    for character, count in Counter(text).items():
        script = _script(character)
        if script and script not in _SYMBOLS:
            scripts[script] += count
    return scripts


def _without_latin(formula: re.Match[str]) -> str:
    return re.sub("[a-zA-Z]+", " ", formula.group())


def _script(character: str) -> str:
    """Return the first word of a letter's name, an empty string for other characters."""
    return unicodedata.name(character, "").partition(" ")[0] if character.isalpha() else ""


def _all_scripts() -> set[str]:
    return {_script(chr(code)) for code in range(0x30000)}
