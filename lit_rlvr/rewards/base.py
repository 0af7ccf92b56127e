"""What every reward function must do."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from lit_rlvr.rewards.self_test import SelfTest
from lit_rlvr.types import Completion, Prompt, Verdict


class RewardFunction(ABC):
    """Judges one completion. The constructor's parameters are its configuration."""

    @abstractmethod
    def __call__(self, prompt: Prompt, completion: Completion) -> Verdict | float:
        """Return a score, or a `Verdict` with a detail for the log.

        A wrong answer scores. A verifier that cannot judge returns `Verdict(None, reason)`: an error is never a silent 0.
        An exception is a bug in the function and stops the run.
        """

    def check(self, prompts: Sequence[Prompt]) -> None:
        """Look at all prompts before the first completion is judged, and refuse those that could never be judged fairly.

        Raises:
            ValueError: naming the prompts, what is wrong with them, and the mend.
        """
        return None

    def self_test(self, prompt: Prompt) -> SelfTest:
        """Return completions of the prompt whose outcome is known, for `lit-rlvr doctor`; without them it can tell little."""
        return SelfTest()

    def close(self) -> None:
        """Release what the function holds (worker processes, connections)."""
        return None
