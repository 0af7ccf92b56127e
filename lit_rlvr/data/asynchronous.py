"""Whether rollouts are collected while the policy is trained, and how old they may become."""

from dataclasses import dataclass

from lit_rlvr.rollout.engine import RolloutEngine


@dataclass(frozen=True)
class AsyncConfig:
    """Whether rollouts are collected while the policy is trained on earlier ones.

    Every iteration trains on the prompts, and samples with the seeds, that it has without this. Rollouts then come from older
    weights than those they train: `data.rollout_correction` can weigh for it, and `rollout/staleness_mean` (in optimizer steps),
    `rollout/staleness_max` and `rollout/staleness_iterations` tell how old they were. What the policy has learned since is part of the
    gap that `data.gap_bounds` limits. Validation waits for what is being collected.
    A checkpoint holds the iterations that are complete; one in progress is collected again after a resume, from the weights of then: no
    prompt is lost or trained on twice, but a resumed run is not bit for bit the one without interruption.

    Sources: one step of overlap as in "Asynchronous RLHF" (arXiv 2410.18252); updates of completions in progress and a bound
    of the staleness as in AReaL (arXiv 2505.24298).
    """

    max_staleness: int = 0
    """Iterations that a token may be behind. While the policy is trained on one iteration, so many further ones are collected. 0: no
    overlap, each iteration comes from the current weights. 1: all of the next iteration comes from the weights before this one's
    training. More needs partial_rollouts."""
    partial_rollouts: bool = False
    """Give new weights to the engine at once, also while completions are in progress: they go on with them, so that one completion may
    have tokens of several versions. False: new weights wait until completions are finished."""

    def __post_init__(self) -> None:
        """Reject combinations that would do nothing, or could not keep their promise."""
        if self.max_staleness < 0:
            raise ValueError(f"data.asynchronous.max_staleness must be 0 (no overlap) or more, got {self.max_staleness}")
        if self.partial_rollouts and self.max_staleness == 0:
            raise ValueError(
                "data.asynchronous.partial_rollouts would do nothing with max_staleness=0, which collects nothing during training: "
                "set data.asynchronous.max_staleness to 1 or more"
            )
        if self.max_staleness > 1 and not self.partial_rollouts:
            raise ValueError(
                f"data.asynchronous.max_staleness={self.max_staleness} needs data.asynchronous.partial_rollouts=true: without it, new "
                "weights would have to wait for all iterations in progress, and nothing would overlap any more. Or set max_staleness=1"
            )

    def check_engine(self, engine: RolloutEngine) -> None:
        """Refuse an engine that cannot do what is asked for.

        Raises:
            ValueError: it cannot generate while the policy is trained, or not take weights while it generates.
        """
        name = type(engine).__name__
        if self.max_staleness and not engine.can_overlap:
            raise ValueError(
                f"data.asynchronous.max_staleness={self.max_staleness} needs an engine with weights of its own, but {name}, as it is set, "
                "samples from the weights that are being trained or puts its own away meanwhile: give EmbeddedEngine a device, take an "
                "engine of vLLM without sleep_while_training, or set max_staleness=0"
            )
        if self.partial_rollouts and not engine.can_update_midway:
            raise ValueError(
                f"data.asynchronous.partial_rollouts=true needs an engine that takes new weights while it generates, which {name} cannot: "
                "take an engine of vLLM, or set partial_rollouts=false with max_staleness=1"
            )
