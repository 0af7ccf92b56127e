"""One fixed set of tokens, for results that are worked out by hand.

Five tokens with ratios 0.2, 0.9, 1.1, 1.5, 4, once with advantage 1 and once with advantage -2. Their old log-probs are
-1, -2, -0.5, -3, -4, hence their log-probs old + ln r:  -2.609438, -2.105361, -0.404690, -2.594535, -2.613706.

Their entropies are 1, 0.2, 0.1, 2, 0.3. In order 0.1, 0.2, 0.3, 1, 2, the 0.6 quantile lies at position 0.6 x 4 = 2.4, at
0.3 + 0.4 x 0.7 = 0.58: the first and the fourth token, with ratios 0.2 and 1.5, are the high-entropy ones.

The mean of the ratios is 7.7 / 5 = 1.54, and their geometric mean 1.188^(1/5) = 1.035055.
"""

import torch

from lit_rlvr.objectives import HighEntropyRange, ObjectiveInputs

WIDE = HighEntropyRange(clip_low=0.9, clip_high=0.6, quantile=0.6)
MEAN, GEOMETRIC_MEAN = 1.54, 1.035055
LOGPROBS = [-2.609438, -2.105361, -0.404690, -2.594535, -2.613706]


def fixed_inputs() -> ObjectiveInputs:
    ratios = torch.tensor([0.2, 0.9, 1.1, 1.5, 4.0], dtype=torch.float64)
    old = torch.tensor([-1.0, -2.0, -0.5, -3.0, -4.0], dtype=torch.float64).repeat(2, 1)
    advantages = torch.tensor([[1.0], [-2.0]], dtype=torch.float64).expand(2, 5)
    entropy = torch.tensor([1.0, 0.2, 0.1, 2.0, 0.3], dtype=torch.float64).repeat(2, 1)
    mask = torch.ones(2, 5, dtype=torch.bool)
    return ObjectiveInputs((old + ratios.log()).requires_grad_(), old, advantages, mask, entropy)
