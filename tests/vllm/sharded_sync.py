"""Run by two processes (`torchrun`): one engine over both, a good update, and one after which rank 1 computes with an old copy."""

import sys

import torch
import torch.distributed as dist

from lit_rlvr.modules.loading import PolicyConfig
from lit_rlvr.modules.policy import Policy
from lit_rlvr.rollout.vllm import VLLMEngine
from lit_rlvr.rollout.vllm.sync.proof import WeightSyncError
from lit_rlvr.rollout.vllm.sync.worker import WorkerExtension


def main(folder: str) -> None:
    dist.init_process_group("gloo")
    policy = Policy(PolicyConfig(folder))
    engine = VLLMEngine(max_model_len=300, kv_cache_gb=0.05, enforce_eager=True, tensor_parallel_size=2)
    engine.update_weights(policy, 0)
    assert engine._instance is not None
    worker = engine._instance.llm.llm_engine.model_executor.driver_worker.worker
    layer = worker.model_runner.get_model().model.layers[1].mlp.down_proj
    if dist.get_rank() == 1:
        stale, repack = layer.cpu_linear, WorkerExtension.lit_repack_heads

        def keep_the_old_copy(self: WorkerExtension) -> None:
            repack(self)
            layer.cpu_linear = stale

        WorkerExtension.lit_repack_heads = keep_the_old_copy  # type: ignore[method-assign]
    with torch.no_grad():
        for weight in policy.model.parameters():
            weight.mul_(1.01)
    try:
        engine.update_weights(policy, 1)
    except WeightSyncError as error:
        print(f"rank {dist.get_rank()} found: {error}", flush=True)
    dist.barrier()
    engine.close()


if __name__ == "__main__":
    main(sys.argv[1])
