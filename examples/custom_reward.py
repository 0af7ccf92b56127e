r"""A reward of your own: a class with `__call__`, anywhere on the Python path, named in YAML by its `class_path`.

rewards:
  brevity:
    class_path: custom_reward.Brevity
    init_args: {free_tokens: 20}
"""

from lit_rlvr.rewards import RewardFunction
from lit_rlvr.types import Completion, Prompt


class Brevity(RewardFunction):
    """1 up to `free_tokens` tokens, then falling as `free_tokens / length`.

    Args:
        free_tokens: tokens that cost nothing.
    """

    def __init__(self, free_tokens: int = 20) -> None:
        self.free_tokens = free_tokens

    def __call__(self, prompt: Prompt, completion: Completion) -> float:
        """Score the length only; a rubric adds it to a reward for being right."""
        return min(1.0, self.free_tokens / max(len(completion.token_ids), 1))
