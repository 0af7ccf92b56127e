r"""An objective of your own: a frozen dataclass, anywhere on the Python path, named in YAML by its `class_path`.

objective:
  class_path: custom_objective.SoftClip
  init_args: {sharpness: 4.0}
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from lit_rlvr.objectives import ObjectiveInputs, PolicyObjective


@dataclass(frozen=True)
class SoftClip(PolicyObjective):
    """GRPO with a slope in place of the clip: a token fades out as it moves away from where it was sampled, and never quite.

    Loss `-(4 / k) sigmoid(k (r - 1)) A` with `k` the sharpness. Gradient `-A w` with `w = 4 r s (1 - s)`,
    `s = sigmoid(k (r - 1))`: 1 on policy, as for every objective, and falling exponentially for ratios far above 1.
    """

    sharpness: float = 4.0
    """How fast a token fades: its gradient is halved, up to the factor `r`, where `r` is about `1.76 / sharpness` away from 1."""

    def __call__(self, x: ObjectiveInputs) -> tuple[Float[Tensor, "B T"], dict[str, Float[Tensor, "B T"]]]:
        """Return the token loss, and the share of each token's gradient that is left."""
        gate = (self.sharpness * (x.ratio - 1)).sigmoid()
        return -4 / self.sharpness * gate * x.advantages, {"gradient_left": (4 * gate * (1 - gate)).detach()}
