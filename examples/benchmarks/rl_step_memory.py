"""Peak memory of an RL training step, forward and backward: full logits of all tokens against `Policy`.

    python examples/benchmarks/rl_step_memory.py --vocabulary 8192 32768 131072 --tokens 256 512 1024 2048

Both columns run `RLModule.training_step` and its backward pass on the same rollouts and the same small Qwen3. They differ in how
the log-probs come about: `full` keeps float32 log-softmax logits `[B, T, V]`, `ours` is `lit_rlvr.modules.Policy`, which holds
the logits of `--chunk-size` tokens at a time. A figure is what the step needs beyond a step on two tokens; the parameters and
their gradients (the column `model`) are in neither. What `ours` grows by as rollouts get longer are the activations of the
layers, the same at every vocabulary. Every method and vocabulary has a fresh process.
"""

import argparse
import logging
import math
import tempfile
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Int
from lightning.pytorch import Trainer
from memory import peak_bytes, run_apart
from torch import Tensor
from transformers import Qwen3Config

from lit_rlvr.modules.loading import PolicyConfig
from lit_rlvr.modules.policy import Policy, PolicyScores
from lit_rlvr.modules.rl import RLModule
from lit_rlvr.ops import step_totals
from lit_rlvr.types import RolloutBatch


class FullLogitsPolicy(Policy):
    """The alternative: one log-softmax over the logits of all tokens, without avoidable copies."""

    def forward(
        self,
        input_ids: Int[Tensor, "B T"],
        attention_mask: Bool[Tensor, "B T"],
        mask: Bool[Tensor, "B T"],
        temperature: float = 1.0,
        with_entropy_gradient: bool = False,
    ) -> PolicyScores:
        """Score the tokens where `mask` is True; the entropy never has a gradient."""
        # One expression: a name for the logits would keep them alive.
        logprobs = (
            self.model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).logits.float() / temperature
        ).log_softmax(dim=-1)
        entropy = torch.special.entr(logprobs.detach().exp()).sum(dim=-1)
        # Shifting the results, not the logits: the backward of a slice would allocate the gradient of the whole tensor.
        following = input_ids.roll(-1, dims=1)[..., None]
        scores = (logprobs.gather(-1, following).squeeze(-1), entropy)
        return PolicyScores(*(torch.where(mask, score.roll(1, dims=1), 0.0) for score in scores))


METHODS: dict[str, type[Policy]] = {"full": FullLogitsPolicy, "ours": Policy}


def build_module(method: str, vocabulary: int, chunk_size: int, device: str) -> RLModule:
    """Return an RLModule around a Qwen3 of two layers with random weights, its gradients allocated."""
    model = Qwen3Config(
        vocab_size=vocabulary,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=32,
        intermediate_size=128,
        tie_word_embeddings=True,
    )
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        config = PolicyConfig(folder, random_init=True, chunk_size=chunk_size)
        module = RLModule(config)
        module.policy = METHODS[method](config)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    module.trainer = Trainer(accelerator=device, devices=1, logger=False, enable_checkpointing=False)
    for parameter in module.to(device).policy.parameters():
        parameter.grad = torch.zeros_like(parameter)
    return module


def rollouts(rows: int, tokens: int, vocabulary: int, device: str) -> RolloutBatch:
    """Return random rollouts without padding; every token but the first takes part in the loss."""
    generator = torch.Generator().manual_seed(tokens)
    mask = torch.ones(rows, tokens, dtype=torch.bool)
    mask[:, 0] = False
    logprobs = torch.where(mask, -math.log(vocabulary), 0.0)
    advantages = torch.randn(rows, 1, generator=generator) * mask
    weights = mask / mask.sum()
    batch = RolloutBatch(
        input_ids=torch.randint(vocabulary, (rows, tokens), generator=generator),
        attention_mask=torch.ones_like(mask),
        loss_mask=mask,
        advantages=advantages,
        rewards=advantages[:, -1],
        is_correct=advantages[:, -1] > 0,
        rollout_logprobs=logprobs,
        loss_weights=weights,
        positive_weights=torch.zeros_like(weights),
        totals=step_totals(mask, "token-mean"),
        old_logprobs=logprobs,
    )
    return batch.to(device)


def measure(method: str, vocabulary: int, chunk_size: int, device: str, rows: int, lengths: Sequence[int]) -> list[int]:
    """Return the bytes of the model with its gradients, and those a step of each length adds to this process's peak.

    The lengths must ascend: the peak of a longer step is then the peak of the process.
    """
    module = build_module(method, vocabulary, chunk_size, device)
    # The first step loads libraries whose memory is nobody's fault.
    module.training_step(rollouts(1, 2, vocabulary, device), 0)["loss"].backward()
    before = peak_bytes(device)
    counts = [2 * sum(parameter.nbytes for parameter in module.policy.parameters())]
    for tokens in lengths:
        module.training_step(rollouts(rows, tokens, vocabulary, device), 0)["loss"].backward()
        counts.append(peak_bytes(device) - before)
    return counts


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one line per vocabulary and length."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocabulary", type=int, nargs="+", default=[8192, 32768, 131072])
    parser.add_argument("--tokens", type=int, nargs="+", default=[256, 512, 1024, 2048], help="lengths of a rollout")
    parser.add_argument("--rows", type=int, default=1, help="rollouts per step")
    parser.add_argument("--chunk-size", type=int, default=128)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--one", choices=METHODS, help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    lengths = sorted(args.tokens)
    if args.one:
        print(*measure(args.one, args.vocabulary[0], args.chunk_size, args.device, args.rows, lengths))
        return
    print(f"{'vocabulary':>10} {'tokens':>7} {'model MiB':>10} {'full MiB':>10} {'ours MiB':>10} {'ratio':>7}")
    for vocabulary in args.vocabulary:
        case = ["--vocabulary", vocabulary, "--chunk-size", args.chunk_size, "--device", args.device, "--rows", args.rows]
        costs = {method: run_apart(__file__, "--one", method, *case, "--tokens", *lengths) for method in METHODS}
        model = costs["ours"][0]
        for tokens, full, ours in zip(lengths, costs["full"][1:], costs["ours"][1:], strict=True):
            print(f"{vocabulary:>10} {tokens:>7} {model:>10.1f} {full:>10.1f} {ours:>10.1f} {full / ours:>6.1f}x", flush=True)


if __name__ == "__main__":
    main()
