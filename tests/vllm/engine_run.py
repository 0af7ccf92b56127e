"""RL runs with VLLMEngine, as a script: `python engine_run.py MODEL OUT CASE`, where OUT gets one file per rank.

Cases: `ddp` and `fsdp2` (two processes, an engine each), `ddp-shared` (one engine of two ranks), `early` (an engine that is there before
the Trainer), `ahead` (one process that collects while it trains).
"""

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from lightning.pytorch import Callback
from lightning.pytorch.strategies import ModelParallelStrategy

TESTS = Path(__file__).parents[1]
sys.path.insert(0, str(TESTS / "end_to_end"))
from rl_run import make_data, make_module, make_trainer  # noqa: E402

from lit_rlvr.data.asynchronous import AsyncConfig  # noqa: E402
from lit_rlvr.rollout.vllm import VLLMEngine  # noqa: E402
from lit_rlvr.rollout_gap import GapBounds  # noqa: E402


class Gap(Callback):
    """Notes the largest gap between the engine's log-probs and the policy's of every iteration, and the weights it was of."""

    def __init__(self) -> None:
        self.gaps: list[float] = []
        self.versions: list[int] = []
        self.staleness: list[float] = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        if batch_idx == 0:
            difference = (batch.old_logprobs - batch.rollout_logprobs)[batch.loss_mask]
            self.gaps.append(float(difference.abs().max()))
            self.versions.append(trainer.datamodule.engine.weight_version)
            self.staleness.append(batch.stats.get("rollout/staleness_max", 0.0))


def processes(strategy: str) -> dict:
    if strategy == "ahead":
        return {"devices": 1}
    fsdp2 = ModelParallelStrategy(data_parallel_size=2, tensor_parallel_size=1)
    return {"devices": 2, "strategy": fsdp2 if strategy == "fsdp2" else "ddp"}


if __name__ == "__main__":
    model, out, case = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    torch.set_num_threads(1)
    settings = {"tensor_parallel_size": 2} if case.endswith("shared") else {}
    engine = VLLMEngine(
        max_model_len=128, enforce_eager=True, kv_cache_gb=0.05, bucket_mb=1, compare_logprobs_every=1, **settings
    )
    ahead = {}
    if case == "ahead":
        # Its large steps put rollouts of older weights far from the policy.
        ahead = {"asynchronous": AsyncConfig(max_staleness=2, partial_rollouts=True), "gap_bounds": GapBounds(None, None)}
    module, data, gap = make_module(model), make_data(model, engine=engine, **ahead), Gap()
    if case == "early":
        module.configure_model()
        engine.update_weights(module.policy, 0)
    trainer = make_trainer(**processes(case.split("-")[0]), max_epochs=3, callbacks=[gap])
    trainer.fit(module, data)
    group_size = dist.get_world_size() if dist.is_initialized() else 0
    result = {"gaps": gap.gaps, "versions": gap.versions, "staleness": gap.staleness, "group_size": group_size}
    (out / f"{trainer.global_rank}.json").write_text(json.dumps(result | {"steps": trainer.global_step}))
    if group_size:
        dist.barrier()
        dist.destroy_process_group()
