"""The proof that an engine computes with the policy's weights: what each side's fingerprints must have in common."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from lit_rlvr.rollout.vllm.sync.canary import Canary, CanaryReport
from lit_rlvr.rollout.vllm.sync.error import WeightSyncError
from lit_rlvr.rollout.vllm.sync.fingerprint import MODULUS, Fingerprint, PolicyFingerprints, dtype_name

__all__ = ["Canary", "CanaryReport", "PolicyFingerprints", "SyncReport", "WeightSyncError", "compare"]


@dataclass(frozen=True)
class SyncReport:
    """What a comparison without a fault has established."""

    received: int
    """Weights that arrived bit for bit."""
    read_back: int
    """Weights that were read in the engine's model, every element of them."""
    sampled: int
    """Weights whose sampled columns were read through the engine's matrix products."""
    unproven: tuple[str, ...] = ()
    """Weights that arrived but could not be found again in the engine's model (fused experts, quantized layers)."""


@dataclass(frozen=True)
class _Fault:
    what: str
    """What was expected of a weight, and what was found."""
    mend: str


def compare(expected: PolicyFingerprints, found: Sequence[Sequence[Sequence[Any]]]) -> SyncReport:
    """Compare what the policy sent with what the engine received and with what it computes with.

    Args:
        expected: the policy's side of the update.
        found: for each worker of the engine what its `lit_fingerprints` returned, as `collective_rpc` returns them. With several
            workers all of them are needed, since each holds parts.

    Raises:
        WeightSyncError: a weight is missing, unknown, different, stale, or was never sent; names it, with the likely cause.
    """
    workers = [[Fingerprint(*row) for row in rows] for rows in found]
    faults: dict[str, _Fault] = {}
    for rows in workers:
        _check_version(expected, rows)
        for name, fault in _arrival_faults(expected, rows):
            faults.setdefault(name, fault)
    computed = _whole_weights([row for rows in workers for row in rows if row.source == "computed"])
    for name, row in computed.items():
        wrong = _computed_fault(expected, row)
        if wrong is not None and name not in faults and row.note not in faults:
            faults[name] = wrong
    if faults:
        raise _error(expected, faults)
    proven = {name for name, row in computed.items() if row.exact is not None or row.sampled is not None}
    return SyncReport(
        received=len(expected.weights),
        read_back=sum(row.exact is not None for row in computed.values()),
        sampled=sum(row.sampled is not None for row in computed.values()),
        unproven=tuple(name for name in expected.weights if name not in proven),
    )


def _check_version(expected: PolicyFingerprints, rows: Sequence[Fingerprint]) -> None:
    versions = [row.exact for row in rows if row.source == "version"]
    if versions != [expected.version]:
        raise WeightSyncError(
            f"the engine's worker holds version {versions[0] if versions else None} of the weights, expected {expected.version}: "
            "it did not finish this update. Finish every update (lit_finish_update) with the version that it brings"
        )


def _arrival_faults(expected: PolicyFingerprints, rows: Sequence[Fingerprint]) -> Iterator[tuple[str, _Fault]]:
    """Yield what is wrong with the weights as they arrived at one worker."""
    arrived = {row.name: row for row in rows if row.source in ("received", "refused")}
    for name, row in arrived.items():
        if row.source == "refused":
            yield name, _Fault(f"the engine's model refused it ({row.note})", _SAME_CONFIG)
        elif name not in expected.weights:
            yield name, _Fault("it reached the engine, but the policy has no such weight", _SAME_CONFIG)
        elif row.exact != expected.weights[name].exact or row.shape != expected.weights[name].shape:
            yield name, _changed(expected, row)
    for name in expected.weights:
        if name not in arrived:
            mend = "send every bucket between lit_begin_update and lit_finish_update, to every worker"
            yield name, _Fault("the policy has it, but it never reached the engine", mend)
    for row in rows:
        if row.source == "untouched":
            yield (
                row.name,
                _Fault(f"the engine's model has it ({row.dtype} {row.shape}), but nothing was sent for it", _SAME_CONFIG),
            )


def _changed(expected: PolicyFingerprints, row: Fingerprint) -> _Fault:
    """Return what happened to a weight that arrived with other values."""
    sent = expected.weights[row.name]
    same = [name for name, other in expected.weights.items() if other.exact == row.exact and other.shape == row.shape]
    if same:
        return _Fault(f"it arrived with the values of {same[0]}", "names and tensors were paired wrongly on the way")
    if row.shape != sent.shape:
        return _Fault(
            f"expected shape {sent.shape}, found {row.shape}", "send whole, unpadded tensors, as a checkpoint holds them"
        )
    narrower = _bits(row.dtype) < min(_bits(sent.dtype), _bits(dtype_name(expected.engine_dtype)))
    cause = f"rounded to {row.dtype} on the way" if narrower else f"other values; it arrived as {row.dtype}"
    mend = f"send it in {dtype_name(expected.engine_dtype)} or wider, and change no tensor until the update is finished"
    return _Fault(f"expected hash {sent.exact:#x} ({sent.dtype}), found {row.exact or 0:#x} ({cause})", mend)


def _computed_fault(expected: PolicyFingerprints, row: Fingerprint) -> _Fault | None:
    """Return what is wrong with a weight that the engine computes with, if anything is."""
    sent = expected.weights.get(row.name) or expected.weights.get(row.note)
    if sent is None:
        return None
    if row.parts > 1:
        return _Fault(
            "the workers disagree on it, or not all of them answered", "compare the fingerprints of all workers at once"
        )
    if row.exact not in (None, sent.exact):
        if row.note:
            return _Fault(f"the engine uses {row.note} in its place", _SAME_CONFIG)
        return _Fault(
            f"it arrived, but the model holds other values (hash {row.exact:#x}, expected {sent.exact:#x})", _NOT_LOADED
        )
    if row.sampled in (None, sent.sampled):
        return None
    cause = (
        f"it is tied to {row.note}, and its packed copy is a stale one" if row.note else "its packed copy holds other values"
    )
    return _Fault(f"it arrived, but the engine multiplies with something else: {cause}", _STALE_COPY)


def _whole_weights(rows: Sequence[Fingerprint]) -> dict[str, Fingerprint]:
    """Add the parts of each weight up; a result that still has several parts could not be put together."""
    groups: dict[str, list[Fingerprint]] = {}
    for row in rows:
        groups.setdefault(row.name, []).append(row)
    whole: dict[str, Fingerprint] = {}
    for name, group in groups.items():
        distinct = {(row.part, row.exact, row.sampled): row for row in group}
        parts = {row.part for row in group}
        if len(distinct) == len(parts) == group[0].parts:
            hashes = [(row.exact, row.sampled) for row in distinct.values()]
            exact, sampled = (_sum(values) for values in zip(*hashes, strict=True))
            whole[name] = group[0]._replace(exact=exact, sampled=sampled, part=0, parts=1)
        else:
            whole[name] = group[0]._replace(parts=max(2, group[0].parts))
    return whole


def _sum(hashes: Sequence[int | None]) -> int | None:
    known = [value for value in hashes if value is not None]
    return sum(known) % MODULUS if len(known) == len(hashes) else None


def _bits(dtype: str) -> int:
    return getattr(torch, dtype).itemsize * 8


def _error(expected: PolicyFingerprints, faults: dict[str, _Fault]) -> WeightSyncError:
    shown = [f"  {name}: {fault.what}" for name, fault in list(faults.items())[:_SHOWN]]
    if len(faults) > _SHOWN:
        shown.append(f"  ... and {len(faults) - _SHOWN} more")
    mends = dict.fromkeys(fault.mend for fault in faults.values())
    head = f"update {expected.version} did not bring the policy's weights into the engine: wrong are {len(faults)} of them"
    return WeightSyncError("\n".join([head, *shown, *(f"To mend: {mend}" for mend in mends)]))


_SHOWN = 8
_SAME_CONFIG = (
    "build the engine from the policy's own config, and send the names of a Hugging Face checkpoint (policy.named_weights)"
)
_NOT_LOADED = "this version of vLLM loads the weight differently; install one that is supported, or use the embedded engine"
_STALE_COPY = (
    "rebuild the packed copies after each update (WorkerExtension.lit_repack_heads), and load through WorkerExtension only"
)
