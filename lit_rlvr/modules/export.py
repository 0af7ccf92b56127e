"""Exporting a trained policy as a Hugging Face folder."""

import copy
import tempfile
from pathlib import Path

import fsspec
import torch
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.fsdp import FSDPModule
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from lit_rlvr.modules.loading import LoRAConfig, PolicyConfig
from lit_rlvr.modules.policy import Policy


def export_policy(policy: Policy, tokenizer: PreTrainedTokenizerBase, path: str) -> None:
    """Write weights (safetensors), configuration and tokenizer to a folder that `from_pretrained` loads.

    LoRA adapters are merged into a copy of the weights; the policy itself stays as it is.

    Args:
        policy: what to export.
        tokenizer: saved beside it.
        path: local folder, or any fsspec URL.
    """
    with tempfile.TemporaryDirectory() as staging:
        _merged(policy).save_pretrained(staging)
        tokenizer.save_pretrained(staging)
        target = str(path).rstrip("/")
        filesystem, _ = fsspec.url_to_fs(target)
        filesystem.makedirs(filesystem._strip_protocol(target), exist_ok=True)
        for file in sorted(p for p in Path(staging).rglob("*") if p.is_file()):
            filesystem.put_file(str(file), f"{filesystem._strip_protocol(target)}/{file.relative_to(staging)}")


def gathered(policy: Policy) -> Policy:
    """Return the policy with whole weights: itself, or on rank 0 a copy on the CPU of one that is sharded.

    Collective for a sharded policy: every rank must call it. The other ranks have no use for a copy and get their shards back.
    """
    if not isinstance(policy, FSDPModule):
        return policy
    weights = get_model_state_dict(policy, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    if not weights:
        return policy
    whole = Policy(policy.config)
    whole.load_state_dict(weights)
    return whole


def export_checkpoint(checkpoint: str, path: str, tokenizer: str | None = None) -> None:
    """Turn a training checkpoint into a Hugging Face folder.

    Args:
        checkpoint: a checkpoint file written by `fit`.
        path: the folder (or fsspec URL) to write.
        tokenizer: Hugging Face name or folder of the tokenizer; by default the one beside the initial model.

    Raises:
        ValueError: the checkpoint was not written by an SFTModule or an RLModule.
    """
    with fsspec.open(checkpoint, "rb") as file:
        content = torch.load(file, map_location="cpu", weights_only=True)
    if "policy" not in content:
        raise ValueError(f"{checkpoint} was not written by SFTModule or RLModule: it does not say which model it holds")
    values = dict(content["policy"])
    values["lora"] = LoRAConfig(**values["lora"]) if values["lora"] else None
    config = PolicyConfig(**values)
    policy = Policy(config)
    prefix = "policy."
    weights = {k.removeprefix(prefix): v for k, v in content["state_dict"].items() if k.startswith(prefix)}
    policy.load_state_dict(weights)
    export_policy(policy, AutoTokenizer.from_pretrained(tokenizer or config.path), path)


def _merged(policy: Policy) -> PreTrainedModel:
    if policy.config.lora is None:
        return policy.causal_lm
    return copy.deepcopy(policy.model).merge_and_unload()  # type: ignore[operator]
