"""What optimizer steps do to the policy: entropy, importance ratios, divergences, clipping, token by token and by sign."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lit_rlvr.metrics.token_statistics import TokenStatistics
from lit_rlvr.ops import MAX_LOG_RATIO, row_mean
from lit_rlvr.types import RolloutBatch

OF_EVERY_BATCH = (
    *("entropy", "entropy_positive", "entropy_negative"),
    *("ratio", "ratio_positive", "ratio_negative"),
    *("response_ratio", "response_ratio_positive", "response_ratio_negative"),
    *("kl_old_k1", "kl_old_k3", "kl_ref_k1", "kl_ref_k3", "kl_rollout_k1", "kl_rollout_k3"),
    *("rollout_gap", "rollout_gap_exp", "rollout_weight"),
    *("zero_advantage_share", "zero_gradient_share"),
)
"""What is measured whatever the objective."""
SPLIT_BY_SIGN = ("clip_fraction_low", "clip_fraction_high")
"""Statistics of an objective that are reported as shares of the positive and of the negative tokens too."""


class TrainingDynamics(TokenStatistics):
    """Means over the loss tokens of an iteration: all micro-batches, ranks and optimizer steps, each token with weight 1.

    A loss token has `loss_weights != 0`; it is positive where its advantage `A > 0`, negative where `A < 0`. It counts once for
    every optimizer step that trains on it. `pi` is the policy as the step finds it, `old` the policy before the iteration's first
    step (the trainer's log-probs), `engine` the distribution that was sampled from (the engine's log-probs), `ref` the reference.
    `d` is a difference of log-probs of one token. Tokens were sampled from `engine`, which is `old` up to numerics.

    | name | unit | definition |
    |---|---|---|
    | `entropy` | nats | entropy of `pi` at the token |
    | `ratio`, `ratio_max` | 1 | `e^d`, `d = log pi - log old`: mean and maximum |
    | `response_ratio` | 1 | mean over responses of the mean of `ratio` over the response's loss tokens |
    | `kl_old_k1`, `kl_old_k3` | nats | KL(old, pi), `d = log pi - log old`: unbiased on samples of `old` |
    | `kl_rollout_k1`, `kl_rollout_k3` | nats | KL(engine, old), `d = log old - log engine`: unbiased on samples of `engine` |
    | `kl_ref_k1`, `kl_ref_k3` | nats | KL(pi, ref), `d = log ref - log pi`: unbiased on samples of `pi`, so while `pi` is `old` |
    | `rollout_gap`, `rollout_gap_max` | nats | absolute `log old - log engine`: mean and maximum |
    | `rollout_gap_exp` | 1 | `e` to the power of that absolute gap: 1 where engine and trainer agree |
    | `rollout_weight` | 1 | weight that corrects for the gap, where the batch has them |
    | `zero_advantage_share` | share | `A = 0` |
    | `zero_gradient_share` | share | the derivative of the loss by the token's log-prob is exactly 0 |
    | the objective's own | | as the objective defines them, NaN left out |

    KL(p, q) is the divergence from `p` to `q`, the mean of `log p - log q` under `p`. With `d = log q - log p` the estimators are
    `k1 = -d` and `k3 = e^d - d - 1` (J. Schulman, "Approximating KL divergence", 2020).

    `..._positive` and `..._negative` are means over the tokens of that sign. For `response_ratio` they are means over the responses
    whose mean advantage has that sign: the figure of ASPO (arXiv 2510.06062, Fig. 3), which does not define its average; this is
    our reading. `clip_fraction_low` and `clip_fraction_high`, where the objective reports them, are shares of *all* tokens; with a sign
    they are shares of the tokens of that sign (clip-higher acts through `clip_fraction_high_positive`). `rollout_gap_exp` is the
    multiplicative error of NeMo-RL. Klear-Reasoner and verl log `kl_old_k1` as `ppo_kl`.

    Where sampling was truncated (top-p, top-k) the gap between engine and policy is not defined: nothing of `rollout` is measured.

    Log-ratios are limited to ±20 like those of `ObjectiveInputs.ratio`. Where a difference of log-probs is not defined (NaN, or two
    infinities of one sign) the token is left out of the means that need it, though the objective treats its ratio as 1. All values
    are computed in double precision: of small log-ratios, single precision leaves nothing of `k3`.

    Args:
        objective_statistics: names of the statistics that the objective reports.

    Raises:
        ValueError: for a name that occurs twice or is already taken.
    """

    def __init__(self, objective_statistics: Sequence[str] = ()) -> None:
        if taken := sorted(set(objective_statistics) & set(OF_EVERY_BATCH)):
            raise ValueError(f"objective_statistics {taken} are measured for every objective: give them other names")
        signed = [
            f"{name}_{sign}" for name in SPLIT_BY_SIGN if name in objective_statistics for sign in ("positive", "negative")
        ]
        self._signed = tuple(name for name in signed if name not in objective_statistics)
        super().__init__((*OF_EVERY_BATCH, *objective_statistics, *self._signed), maxima=("ratio", "rollout_gap"))

    @torch.no_grad()
    def update_batch(
        self,
        batch: RolloutBatch,
        logprobs: Float[Tensor, "B T"],
        entropy: Float[Tensor, "B T"],
        objective_statistics: Mapping[str, Float[Tensor, "B T"]],
    ) -> None:
        """Count the loss tokens of a micro-batch. Rows are whole responses.

        Args:
            batch: the micro-batch, scored by the policy (`old_logprobs`).
            logprobs: log-probs of the policy that is being trained.
            entropy: its entropy.
            objective_statistics: what the objective reported besides its loss.

        Raises:
            ValueError: the batch has no `old_logprobs`, or a statistic was not announced to the constructor.
        """
        mask = batch.loss_weights != 0
        precision, advantages = self.sums.dtype, batch.advantages
        is_of = {"positive": advantages > 0, "negative": advantages < 0}
        values = {"entropy": entropy.to(precision), **_from_logprobs(batch, logprobs, precision), **objective_statistics}
        values |= _response_means(values["ratio"], mask, advantages.to(precision))
        for name in ("entropy", "ratio"):
            values |= {f"{name}_{sign}": torch.where(among, values[name], torch.nan) for sign, among in is_of.items()}
        for signed in self._signed:
            name, sign = signed.rsplit("_", 1)
            if name in values:
                values[signed] = torch.where(is_of[sign], values[name], torch.nan)
        values["zero_advantage_share"] = (advantages == 0).to(precision)
        if batch.rollout_weights is not None:
            values["rollout_weight"] = batch.rollout_weights
        self.update(values, mask)

    @torch.no_grad()
    def update_gradient(self, token_gradient: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> None:
        """Count the tokens that teach nothing: call it from a backward hook on the log-probs that the objective was given.

        Zero are tokens without advantage, tokens that the objective clips, and those that a correction of the engine's gap masks. A
        gradient of NaN is not zero.

        Args:
            token_gradient: derivative of the loss by each token's log-prob, at any scale.
            mask: True on the loss tokens, `batch.loss_weights != 0`.
        """
        self.update({"zero_gradient_share": (token_gradient == 0).float()}, mask)


def _from_logprobs(batch: RolloutBatch, logprobs: Float[Tensor, "B T"], precision: torch.dtype) -> dict[str, Tensor]:
    """Return what differences of log-probs tell, NaN where they are not defined."""
    if batch.old_logprobs is None:
        raise ValueError("the batch has no old_logprobs: it was not scored by the policy before the first update")
    pairs = {"old": (batch.old_logprobs, logprobs)}
    if batch.is_gap_defined:
        pairs["rollout"] = (batch.rollout_logprobs, batch.old_logprobs)
    if batch.ref_logprobs is not None:
        pairs["ref"] = (logprobs, batch.ref_logprobs)
    first, second = (torch.stack(side).to(precision) for side in zip(*pairs.values(), strict=True))
    log_ratios = (second - first).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    k3 = torch.expm1(log_ratios) - log_ratios
    values = {f"kl_{name}_k1": k1 for name, k1 in zip(pairs, (-log_ratios).unbind(), strict=True)}
    values |= {f"kl_{name}_k3": estimate for name, estimate in zip(pairs, k3.unbind(), strict=True)}
    values["ratio"] = log_ratios[0].exp()
    if batch.is_gap_defined:
        gap = values["kl_rollout_k1"].abs()
        values |= {"rollout_gap": gap, "rollout_gap_exp": gap.exp()}
    return values


def _response_means(
    ratio: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"], advantages: Float[Tensor, "B T"]
) -> dict[str, Float[Tensor, "B T"]]:
    """Return the mean ratio of each response at the first of its tokens that count, NaN elsewhere: one value per response."""
    counted = mask & ~ratio.isnan()
    is_first = counted & (counted.cumsum(dim=1) == 1)
    response_ratio = torch.where(is_first, row_mean(ratio, counted), torch.nan)
    response_advantage = row_mean(advantages, mask)
    return {
        "response_ratio": response_ratio,
        "response_ratio_positive": torch.where(response_advantage > 0, response_ratio, torch.nan),
        "response_ratio_negative": torch.where(response_advantage < 0, response_ratio, torch.nan),
    }
