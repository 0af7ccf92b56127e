"""One of two ranks that sample from the same servers: `server_ranks_worker.py RANK MODEL FOLDER KEY URL...`."""

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from server_cases import PROMPTS, SEEDS, STOP, gap, make_policy, move

from lit_rlvr.rollout.engine import SamplingParams
from lit_rlvr.rollout.vllm.server.engine import VLLMServerEngine
from lit_rlvr.rollout.vllm.server.weight_files import WeightFiles


def main(rank: int, model: Path, folder: Path, key: str, urls: list[str]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    policy = make_policy(model)
    engine = VLLMServerEngine(urls=urls, api_key=key, weights_dir=str(folder / "weights"))
    engine.update_weights(policy, 0)
    move(policy, 5)
    engine.update_weights(policy, 1)
    completions = engine.generate(PROMPTS, SamplingParams(max_tokens=8), SEEDS, [STOP])
    found = {
        "gap": gap(policy, completions, 1.0),
        "versions": sorted({c.weight_version for row in completions for c in row}),
        "tokens": [c.token_ids for row in completions for c in row],
    }
    dist.barrier()
    WeightFiles.write = fail  # type: ignore[method-assign]
    try:
        engine.update_weights(policy, 2)
    except Exception as error:
        found["failure"] = f"{type(error).__name__}: {error}"
    (folder / f"rank-{rank}.json").write_text(json.dumps(found))
    dist.barrier()
    engine.close()
    dist.destroy_process_group()


def fail(*_: object) -> None:
    raise OSError("no space left")


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4], sys.argv[5:])
