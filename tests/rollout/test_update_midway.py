"""Weights that change while completions are generated: which token is of which version, and what its log-prob is that of."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from tiny_policies import TinyPolicy, prompts_of_lengths, seed_grid, tiny_model
from transformers import DynamicCache

from lit_rlvr.rollout.embedded import EmbeddedEngine
from lit_rlvr.rollout.engine import SamplingParams
from lit_rlvr.rollout.step_lock import StepLock
from lit_rlvr.rollout.token_versions import VersionLog

PATIENCE = 30.0
PROMPTS = prompts_of_lengths(5, 9, 3)
SEEDS = seed_grid(3, 2)
STEPS = 24


class InThread:
    """An engine that generates in another thread, and waits for an update in the middle of its `n`-th decoding steps."""

    def __init__(self, policy: TinyPolicy, wait_at: tuple[int, ...], own_attention: bool = True, max_batch_size: int = 256):
        self.engine = EmbeddedEngine(device="cpu", own_attention=own_attention, max_batch_size=max_batch_size)
        self.engine.update_weights(policy, 0)
        self.wait_at, self.steps = set(wait_at), 0
        self.waits = threading.Semaphore(0)
        self.engine._weights.model.register_forward_pre_hook(self.count, with_kwargs=True)

    def count(self, _, __, kwargs):
        if kwargs["input_ids"].shape[1] > 1:
            return
        if self.steps in self.wait_at:
            self.waits.release()
            deadline = time.monotonic() + PATIENCE
            # As soon as it has closed the door, the update waits for this very step to end.
            while not self.engine._weights._lock._door.locked():
                assert time.monotonic() < deadline, "no update came"
                time.sleep(0.001)
        self.steps += 1

    def generate(self, params, stop=()):
        return [c for group in self.engine.generate(PROMPTS, params, SEEDS, list(stop)) for c in group]


def scaled(factor: float) -> TinyPolicy:
    model = tiny_model("qwen3")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(factor)
    return TinyPolicy(model)


def with_updates(subject: InThread, policies, params, stop=()):
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(subject.generate, params, stop)
        for version, policy in enumerate(policies, start=1):
            assert subject.waits.acquire(timeout=PATIENCE), "the step that waits for an update never came"
            subject.engine.update_weights(policy, version)
        return running.result(timeout=PATIENCE)


def over_mixed_cache(old, new, prompt, token_ids, num_old):
    """Log-probs of the tokens from `num_old` on: the new model over keys and values that the old one has left behind."""
    cache = DynamicCache()
    with torch.no_grad():
        old.model(torch.tensor([[*prompt.token_ids, *token_ids[: num_old - 1]]]), past_key_values=cache)
        logits = new.model(torch.tensor([token_ids[num_old - 1 : -1]]), past_key_values=cache).logits[0]
    return logits.log_softmax(dim=-1).gather(1, torch.tensor(token_ids[num_old:])[:, None])[:, 0]


@pytest.mark.parametrize("own_attention", [True, False])
def test_tokens_after_an_update_are_of_the_new_weights_over_the_old_cache(own_attention):
    old, new, params = scaled(1.0), scaled(0.9), SamplingParams(max_tokens=STEPS)
    # Without our own attention only prompts of one length run together, one length after another.
    untouched = InThread(old, (), own_attention).generate(params)
    found = with_updates(InThread(old, (10,), own_attention), [new], params)
    rows = [(prompt, i) for prompt in PROMPTS for i in range(2)]
    mixed = 0
    for (prompt, _), completion, without in zip(rows, found, untouched, strict=True):
        versions = completion.token_versions or (completion.weight_version,) * STEPS
        assert list(versions) == sorted(versions)
        assert completion.weight_version == versions[0]
        num_old = versions.count(0)
        assert completion.token_ids[:num_old] == without.token_ids[:num_old]
        assert completion.logprobs[:num_old] == pytest.approx(without.logprobs[:num_old], abs=1e-6)
        if 0 < num_old < STEPS:
            mixed += 1
            assert num_old == 11
            expected = over_mixed_cache(old, new, prompt, completion.token_ids, num_old)
            torch.testing.assert_close(torch.tensor(completion.logprobs[num_old:]), expected, atol=1e-4, rtol=0)
            assert completion.token_ids != without.token_ids
    assert mixed == (6 if own_attention else 2)


def test_rows_that_join_after_an_update_are_of_the_new_weights_alone():
    new, params = scaled(0.9), SamplingParams(max_tokens=STEPS)
    found = with_updates(InThread(scaled(1.0), (5, 20, 30), max_batch_size=3), [new, scaled(1.1), new], params)
    alone = InThread(new, ()).generate(params)
    kinds = {completion.weight_version: completion.token_versions for completion in found}
    assert kinds[0] == (0,) * 6 + (1,) * 15 + (2,) * 3
    for completion, expected in zip(found, alone, strict=True):
        if completion.weight_version == 3 and not completion.token_versions:
            assert completion.token_ids == expected.token_ids
    assert {completion.weight_version for completion in found} >= {0, 2}
    assert all(completion.token_versions == () or len(completion.token_versions) == STEPS for completion in found)


def test_an_update_may_come_from_a_callback_of_the_generation_itself():
    subject, new = InThread(scaled(1.0), ()), scaled(0.9)
    subject.engine.on_progress = lambda finished, total: subject.engine.update_weights(new, 1)
    found = subject.generate(SamplingParams(max_tokens=STEPS), stop=range(1, 6))
    assert {c.weight_version for c in found} == {0}
    assert any(c.token_versions and c.token_versions[-1] == 1 for c in found)


def test_a_generation_that_raises_lets_the_next_update_in():
    subject, policy = InThread(scaled(1.0), ()), scaled(0.9)

    def fail(*_):
        raise RuntimeError("in the middle of a step")

    hook = subject.engine._weights.model.model.layers[1].register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="in the middle of a step"):
        subject.generate(SamplingParams(max_tokens=4))
    hook.remove()
    broken = scaled(float("nan"))
    with ThreadPoolExecutor(1) as pool:
        pool.submit(subject.engine.update_weights, broken, 1).result(timeout=PATIENCE)
        with pytest.raises(FloatingPointError, match="weights version 1"):
            subject.generate(SamplingParams(max_tokens=4))
        pool.submit(subject.engine.update_weights, policy, 2).result(timeout=PATIENCE)
    found, expected = (run.generate(SamplingParams(max_tokens=4)) for run in (subject, InThread(policy, ())))
    assert [c.token_ids for c in found] == [c.token_ids for c in expected]
    assert {c.weight_version for c in found} == {2}


def test_an_update_waits_for_one_step_at_most():
    lock, inside, waited = StepLock(), [], []

    def steps():
        for i in range(200):
            with lock.step():
                inside.append(i)
                time.sleep(0.002)

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(steps)
        for _ in range(10):
            before = len(inside)
            with lock.update():
                waited.append(len(inside) - before)
                held = len(inside)
                time.sleep(0.003)
                assert len(inside) == held
        running.result(timeout=PATIENCE)
    # The one step under way when the door is closed, and one that may have passed the door just before.
    assert max(waited) <= 2


def test_the_log_of_versions():
    log = VersionLog()
    for step, version in enumerate([7, 7, 8, 8, 8, 9]):
        log.begin_step(version)
        log.admit({0: [4, 5], 2: [1], 5: [3]}.get(step, []))
    assert log.of(4, 6) == log.of(5, 6) == (7, 7, 8, 8, 8, 9)
    assert log.of(4, 2) == (7, 7)
    assert log.of(1, 4) == (8, 8, 8, 9)
    assert log.of(3, 1) == (9,)
    assert log.latest == 9
