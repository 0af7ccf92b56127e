"""Peak memory of scoring tokens, forward and backward: a log-softmax over all logits against `token_scores`.

    python examples/benchmarks/logprob_memory.py --vocabulary 32768 131072 --tokens 512 1024 2048

Each line is measured in fresh processes and counts what the computation needs beyond the hidden states, the head and
their gradients.
"""

import argparse
from collections.abc import Callable

import torch
from memory import peak_bytes, run_apart
from torch import Tensor, nn

from lit_rlvr.token_scores import token_scores

HIDDEN = 64


def plain(hidden: Tensor, head: nn.Module, targets: Tensor, chunk_size: int) -> Tensor:
    """Return the log-probs from the logits of all tokens at once."""
    return head(hidden).float().log_softmax(dim=-1).gather(-1, targets[:, None]).squeeze(-1)


def chunked(hidden: Tensor, head: nn.Module, targets: Tensor, chunk_size: int) -> Tensor:
    """Return the log-probs from the logits of `chunk_size` tokens at a time."""
    return token_scores(hidden, head, targets, chunk_size=chunk_size)[0]


METHODS: dict[str, Callable[[Tensor, nn.Module, Tensor, int], Tensor]] = {"plain": plain, "chunked": chunked}


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
            case = (vocabulary, tokens, options.chunk_size, options.device)
            plain_cost, chunked_cost = (run_apart(__file__, "--one", method, *case)[0] for method in METHODS)
            ratio = plain_cost / chunked_cost
            print(f"{vocabulary:>10} {tokens:>7} {plain_cost:>10.1f} {chunked_cost:>12.1f} {ratio:>6.1f}x", flush=True)


if __name__ == "__main__":
    main()
