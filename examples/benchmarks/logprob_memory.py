"""Peak memory of scoring tokens, forward and backward: a log-softmax over all logits against `token_scores`.

    python examples/benchmarks/logprob_memory.py --vocabulary 32768 131072 --tokens 512 1024 2048

Each line is measured in fresh processes and counts what the computation needs beyond the hidden states, the head and
their gradients.
"""

import argparse
import os
import resource
import subprocess
import sys
from collections.abc import Callable

import torch
from torch import Tensor, nn

from lit_rlvr.token_scores import token_scores

HIDDEN = 64
MIB = 2**20


def plain(hidden: Tensor, head: nn.Module, targets: Tensor, chunk_size: int) -> Tensor:
    """Return the log-probs from the logits of all tokens at once."""
    return head(hidden).float().log_softmax(dim=-1).gather(-1, targets[:, None]).squeeze(-1)


def chunked(hidden: Tensor, head: nn.Module, targets: Tensor, chunk_size: int) -> Tensor:
    """Return the log-probs from the logits of `chunk_size` tokens at a time."""
    return token_scores(hidden, head, targets, chunk_size=chunk_size)[0]


METHODS: dict[str, Callable[[Tensor, nn.Module, Tensor, int], Tensor]] = {"plain": plain, "chunked": chunked}


def peak_bytes(device: str) -> int:
    """Return the most memory this process ever held."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(method: str, vocabulary: int, tokens: int, chunk_size: int, device: str) -> int:
    """Return the bytes one forward and backward pass adds to this process's peak."""
    head = nn.Linear(HIDDEN, vocabulary, bias=False, device=device)
    hidden = torch.randn(tokens, HIDDEN, device=device, requires_grad=True)
    targets = torch.randint(vocabulary, (tokens,), device=device)
    hidden.grad, head.weight.grad = torch.zeros_like(hidden), torch.zeros_like(head.weight)
    # The first pass loads libraries whose memory is nobody's fault.
    METHODS[method](hidden[:2], head, targets[:2], chunk_size).sum().backward()
    before = peak_bytes(device)
    METHODS[method](hidden, head, targets, chunk_size).sum().backward()
    return peak_bytes(device) - before


def measure_apart(method: str, vocabulary: int, tokens: int, chunk_size: int, device: str) -> float:
    """Return `measure` of a fresh process, in MiB."""
    command = [sys.executable, __file__, "--one", method, str(vocabulary), str(tokens), str(chunk_size), device]
    # glibc keeps freed blocks below a threshold that grows as it runs; without a fixed one the peak counts tensors long gone.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(MIB)}
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return int(result.stdout) / MIB


def main() -> None:
    """Print one line per vocabulary and number of tokens."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocabulary", type=int, nargs="+", default=[32768, 131072])
    parser.add_argument("--tokens", type=int, nargs="+", default=[512, 1024, 2048])
    parser.add_argument("--chunk-size", type=int, default=128)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--one", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        method, vocabulary, tokens, chunk_size, device = options.one
        print(measure(method, int(vocabulary), int(tokens), int(chunk_size), device))
        return
    print(f"{'vocabulary':>10} {'tokens':>7} {'plain MiB':>10} {'chunked MiB':>12} {'ratio':>7}")
    for vocabulary in options.vocabulary:
        for tokens in options.tokens:
            costs = [measure_apart(m, vocabulary, tokens, options.chunk_size, options.device) for m in METHODS]
            ratio = costs[0] / costs[1]
            print(f"{vocabulary:>10} {tokens:>7} {costs[0]:>10.1f} {costs[1]:>12.1f} {ratio:>6.1f}x", flush=True)


if __name__ == "__main__":
    main()
