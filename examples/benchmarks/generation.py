"""Tokens per second of the embedded engine and of `transformers.generate`, on the same model, prompts and settings.

    python examples/benchmarks/generation.py --model all --threads 2

The models have random weights: `demo` is the shape of the quickstart's model (0.3 M parameters), `small` a Qwen3 of 3.2 M,
`half-billion` the shape of Qwen2.5-0.5B. Both samplers decode all completions in one batch, at temperature 1 without filters,
and take turns, so that other load on the machine meets both; a figure is the median of its rounds. Generated tokens count up
to the stop token. The demo is measured three times: with a stop token, as in training
(completions end at different lengths: `generate` decodes all rows until the last has ended), once more so with a compiled
decoding step, and without a stop token (every completion has the full length), like the others. The engine returns log-probs,
`generate` does not. With `--vllm`, vLLM in this process (without compilation on the CPU) takes the place of `generate`.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import torch
from transformers import PreTrainedModel, Qwen2Config, Qwen3Config

from lit_rlvr.modules.loading import PolicyConfig
from lit_rlvr.modules.policy import Policy
from lit_rlvr.rollout.embedded import EmbeddedEngine
from lit_rlvr.rollout.engine import RolloutEngine, SamplingParams
from lit_rlvr.rollout.vllm import VLLMEngine
from lit_rlvr.types import Prompt

PAD, STOP = 0, 2
DEMO = Qwen3Config(
    vocab_size=45,
    hidden_size=96,
    num_hidden_layers=3,
    num_attention_heads=3,
    num_key_value_heads=1,
    head_dim=32,
    intermediate_size=256,
    max_position_embeddings=256,
    initializer_range=0.05,
    tie_word_embeddings=True,
)
SMALL = Qwen3Config(
    vocab_size=320,
    hidden_size=256,
    num_hidden_layers=4,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=64,
    intermediate_size=736,
    max_position_embeddings=256,
    tie_word_embeddings=False,
)
HALF_BILLION = Qwen2Config(
    vocab_size=151936,
    hidden_size=896,
    num_hidden_layers=24,
    num_attention_heads=14,
    num_key_value_heads=2,
    intermediate_size=4864,
    max_position_embeddings=4096,
    tie_word_embeddings=True,
)


@dataclass(frozen=True)
class Case:
    """What one comparison generates."""

    name: str
    config: Qwen2Config | Qwen3Config
    num_prompts: int
    group_size: int
    prompt_lengths: tuple[int, int]
    """Shortest and longest prompt."""
    max_tokens: int
    stop: tuple[int, ...]
    is_compiled: bool = False
    """Whether the engine compiles its decoding step; the warm-up round takes the time of that."""


CASES = {
    "demo": [
        Case("demo, natural ends", DEMO, 32, 8, (10, 14), 80, (STOP,)),
        Case("demo, natural ends, compiled", DEMO, 32, 8, (10, 14), 80, (STOP,), is_compiled=True),
        Case("demo, full length", DEMO, 32, 8, (10, 14), 80, ()),
    ],
    "small": [Case("small, full length", SMALL, 64, 8, (24, 64), 64, ())],
    "half-billion": [Case("half-billion, full length", HALF_BILLION, 4, 4, (24, 32), 12, ())],
}


def random_prompts(case: Case) -> list[Prompt]:
    """Return prompts without padding and stop tokens, their lengths spread evenly over the case's range."""
    generator = torch.Generator().manual_seed(0)
    shortest, longest = case.prompt_lengths
    lengths = [shortest + i % (longest - shortest + 1) for i in range(case.num_prompts)]
    ids = [torch.randint(STOP + 1, case.config.vocab_size, (n,), generator=generator).tolist() for n in lengths]
    return [Prompt(id=str(i), messages=(), token_ids=tuple(row)) for i, row in enumerate(ids)]


def embedded(case: Case) -> EmbeddedEngine:
    """Return the embedded engine for a case."""
    return EmbeddedEngine(max_batch_size=case.num_prompts * case.group_size, compile_decoding=case.is_compiled)


def vllm(case: Case) -> VLLMEngine:
    """Return vLLM for a case, with a cache that holds all of it."""
    return VLLMEngine(max_num_seqs=case.num_prompts * case.group_size, kv_cache_gb=2)


def sampler_of(engine: RolloutEngine, case: Case, prompts: Sequence[Prompt]) -> Callable[[int], int]:
    """Return a function that generates with an engine and counts tokens."""
    params = SamplingParams(max_tokens=case.max_tokens)

    def generate(round_number: int) -> int:
        seeds = [[((round_number * 1000 + p) << 10) + g for g in range(case.group_size)] for p in range(len(prompts))]
        groups = engine.generate(prompts, params, seeds, case.stop)
        return sum(len(completion.token_ids) for group in groups for completion in group)

    return generate


def transformers_generate(model: PreTrainedModel, case: Case, prompts: Sequence[Prompt]) -> Callable[[int], int]:
    """Return a function that generates with transformers (left-padded, one batch) and counts tokens."""
    width = max(len(prompt.token_ids) for prompt in prompts)
    ids = torch.tensor([[PAD] * (width - len(prompt.token_ids)) + list(prompt.token_ids) for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt.token_ids)) + [1] * len(prompt.token_ids) for prompt in prompts])

    def generate(round_number: int) -> int:
        torch.manual_seed(round_number)
        output = model.generate(
            ids,
            attention_mask=mask,
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            num_return_sequences=case.group_size,
            max_new_tokens=case.max_tokens,
            eos_token_id=list(case.stop) or None,
            pad_token_id=PAD,
        )
        new = output[:, width:]
        ended = torch.isin(new, torch.tensor(case.stop)).int().cumsum(dim=1)
        return int((ended - torch.isin(new, torch.tensor(case.stop)).int() == 0).sum())

    return generate


def compare(case: Case, policy: Policy, repeats: int, with_vllm: bool) -> None:
    """Let both generate in turns and print their tokens per second."""
    prompts = random_prompts(case)
    engines = [embedded(case), *([vllm(case)] if with_vllm else [])]
    for engine in engines:
        engine.update_weights(policy, 0)
    ours, *others = (sampler_of(engine, case, prompts) for engine in engines)
    other = others[0] if others else transformers_generate(policy.causal_lm, case, prompts)
    samplers = {"engine": ours, "other": other}
    speeds: dict[str, list[float]] = {name: [] for name in samplers}
    for round_number in range(repeats + 1):
        for name, sampler in samplers.items():
            start = time.perf_counter()
            tokens = sampler(round_number)
            if round_number:  # the first round warms up
                speeds[name].append(tokens / (time.perf_counter() - start))
    for engine in engines:
        engine.close()
    ratio = median(mine / theirs for mine, theirs in zip(speeds["engine"], speeds["other"], strict=True))
    print(
        f"{case.name:28} engine {median(speeds['engine']):9,.0f} tokens/s   {'vLLM' if with_vllm else 'transformers.generate'}"
        f" {median(speeds['other']):9,.0f} tokens/s   ratio {ratio:.2f} (median of {repeats})",
        flush=True,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the chosen comparisons."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=[*CASES, "all"], default="all")
    parser.add_argument("--threads", type=int, default=2, help="torch's threads")
    parser.add_argument("--repeats", type=int, default=5, help="measured rounds of each, after one that warms up")
    parser.add_argument("--vllm", action="store_true", help="against vLLM instead of transformers.generate")
    args = parser.parse_args(arguments)
    torch.set_num_threads(args.threads)
    for name in CASES if args.model == "all" else [args.model]:
        with tempfile.TemporaryDirectory() as folder:
            CASES[name][0].config.save_pretrained(folder)
            policy = Policy(PolicyConfig(folder, random_init=True)).eval()
        for case in CASES[name]:
            compare(case, policy, args.repeats, args.vllm)


if __name__ == "__main__":
    main()
