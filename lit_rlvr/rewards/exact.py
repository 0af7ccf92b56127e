"""Plain equality, for problems whose answer has one spelling."""

from dataclasses import dataclass

from lit_rlvr.rewards.answer_reward import AnswerReward


@dataclass(eq=False)
class ExactAnswer(AnswerReward):
    r"""Pays for a final answer spelled like `prompt.answer`, up to white space and case. Cheap: no process, no mathematics."""

    def compare(self, gold: str, answer: str) -> tuple[bool, str]:
        """Return whether the two are spelled alike."""
        is_right = _folded(gold) == _folded(answer)
        return is_right, "same spelling" if is_right else "another spelling"


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()
