"""Weights in portions of bounded size, on their way from the policy to an engine."""

from collections.abc import Iterable, Iterator

from torch import Tensor

Bucket = list[tuple[str, Tensor]]


def weight_buckets(named: Iterable[tuple[str, Tensor]], max_bytes: int) -> Iterator[Bucket]:
    """Gather weights, in their order, into lists of at most `max_bytes`; a larger one comes alone.

    Nothing of a list is kept once it has been yielded. The first weight of the next list is asked for before a list is full, so that
    `max_bytes` and one weight are alive at once, where the consumer lets go of each list before it asks for the next.

    Raises:
        ValueError: `max_bytes` is below 1.
    """
    if max_bytes < 1:
        raise ValueError(f"the size of a bucket of weights must be at least 1 byte, got {max_bytes}")
    return _filled(named, max_bytes)


def _filled(named: Iterable[tuple[str, Tensor]], max_bytes: int) -> Iterator[Bucket]:
    # Lists are popped when they are yielded, because a name in this frame would keep them alive meanwhile.
    waiting: list[Bucket] = [[]]
    size = 0
    for name, tensor in named:
        if waiting[0] and size + tensor.nbytes > max_bytes:
            waiting.append([])
            yield waiting.pop(0)
            size = 0
        waiting[0].append((name, tensor))
        size += tensor.nbytes
        del tensor
    if waiting[0]:
        yield waiting.pop(0)
