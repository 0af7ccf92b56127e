"""Every way we know of to sample from other weights than the policy's, done on purpose to the real vLLM. Each must be found and named.

Weights are tampered with between the engine and vLLM's worker, which runs in this process: what the policy sends stays right.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lit_rlvr.modules.loading import PolicyConfig
from lit_rlvr.modules.policy import Policy
from lit_rlvr.rollout.vllm import VLLMEngine
from lit_rlvr.rollout.vllm.sync.proof import WeightSyncError
from lit_rlvr.rollout.vllm.sync.worker import WorkerExtension

Named = list[tuple[str, Tensor]]
KINDS = [(True, "float32"), (False, "float32"), (True, "bfloat16"), (False, "bfloat16")]
K_PROJ = "model.layers.0.self_attn.k_proj.weight"
V_PROJ = "model.layers.0.self_attn.v_proj.weight"


class Site:
    """An engine that has taken a policy's weights over once, and the policy."""

    def __init__(self, folder: Path, is_tied: bool, dtype: Any) -> None:
        self.is_tied = is_tied
        self.dtype = getattr(torch, dtype)
        self.policy = Policy(PolicyConfig(str(folder)))
        self.engine = VLLMEngine(dtype=dtype, max_model_len=512, kv_cache_gb=0.05, enforce_eager=True, bucket_mb=1)
        self.version = 0
        self.engine.update_weights(self.policy, 0)

    def update(self) -> None:
        self.version += 1
        self.engine.update_weights(self.policy, self.version)

    @torch.no_grad()
    def train(self, relative_change: float = 0.01) -> None:
        for weight in self.policy.model.parameters():
            weight.mul_(1 + relative_change * torch.randn(weight.shape))

    @property
    def model(self) -> Any:
        """The model inside vLLM."""
        assert self.engine._instance is not None
        return self.engine._instance.llm.llm_engine.model_executor.driver_worker.worker.model_runner.get_model()


@pytest.fixture(scope="module", params=KINDS, ids=["tied-float32", "untied-float32", "tied-bfloat16", "untied-bfloat16"])
def site(request: pytest.FixtureRequest, tiny_tied: Path, tiny_untied: Path) -> Iterator[Site]:
    is_tied, dtype = request.param
    torch.manual_seed(0)
    built = Site(tiny_tied if is_tied else tiny_untied, is_tied, dtype)
    yield built
    built.engine.close()


@pytest.fixture
def tamper(site: Site, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Named], Named]], None]:
    """Return a function that has each bucket changed on its way to the worker. Afterwards a faultless update must pass."""

    def use(change: Callable[[Named], Named]) -> None:
        load = WorkerExtension.lit_load_tensors
        monkeypatch.setattr(WorkerExtension, "lit_load_tensors", lambda self, named: load(self, change(named)))

    return use


@pytest.fixture(autouse=True)
def recovers(site: Site) -> Iterator[None]:
    """After every fault the next update must be a good one: an engine is not lost by a failed update."""
    yield
    site.train()
    site.update()


def fails(site: Site, *told: str) -> None:
    """Update, and demand an error that tells all this."""
    site.train()
    with pytest.raises(WeightSyncError) as caught:
        site.update()
    message = str(caught.value)
    assert not [text for text in told if text not in message], message
    assert site.engine.weight_version == -1


@pytest.mark.parametrize("lost", [K_PROJ, "model.norm.weight", "model.embed_tokens.weight"])
def test_a_tensor_that_is_not_sent(site: Site, tamper: Callable[..., None], lost: str) -> None:
    tamper(lambda named: [(name, tensor) for name, tensor in named if name != lost])
    fails(site, f"{lost}: the policy has it, but it never reached the engine", "To mend: send every bucket")


def test_a_tensor_that_the_policy_forgets(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then both sides agree on what was sent, and the engine computes with whatever it had."""
    everything = site.policy.named_weights
    some = lambda: ((name, tensor) for name, tensor in everything() if name != V_PROJ)  # noqa: E731
    monkeypatch.setattr(site.policy, "named_weights", some)
    fails(site, f"{V_PROJ}: the engine's model has it", "nothing was sent for it", "To mend")


def test_the_values_of_another_tensor(site: Site, tamper: Callable[..., None]) -> None:
    def swap(named: Named) -> Named:
        tensors = dict(named)
        return [(name, tensors[V_PROJ] if name == K_PROJ else tensor) for name, tensor in named]

    tamper(swap)
    fails(site, f"{K_PROJ}: it arrived with the values of {V_PROJ}", "To mend: names and tensors")


def test_a_transposed_square_matrix(site: Site, tamper: Callable[..., None]) -> None:
    tamper(lambda named: [(name, tensor.T if name == K_PROJ else tensor) for name, tensor in named])
    fails(site, f"{K_PROJ}: expected hash", "other values", "To mend")


def test_values_that_were_rounded_on_the_way(site: Site, tamper: Callable[..., None]) -> None:
    narrow = torch.bfloat16 if site.dtype == torch.float32 else torch.float8_e4m3fn
    tamper(lambda named: [(name, tensor.to(narrow) if name == K_PROJ else tensor) for name, tensor in named])
    fails(
        site, f"{K_PROJ}: expected hash", f"rounded to {str(narrow).removeprefix('torch.')} on the way", "To mend: send it in"
    )


def test_values_that_were_rounded_and_widened_again(site: Site, tamper: Callable[..., None]) -> None:
    narrow = torch.bfloat16 if site.dtype == torch.float32 else torch.float8_e4m3fn
    tamper(lambda named: [(name, tensor.to(narrow).float() if name == K_PROJ else tensor) for name, tensor in named])
    fails(site, f"{K_PROJ}: expected hash", "other values; it arrived as float32")


@pytest.mark.parametrize(
    "strange", ["model.layers.0.self_attn.z_proj.weight", "mystery.weight", "model.layers.7.mlp.up_proj.weight"]
)
def test_an_unknown_name(site: Site, tamper: Callable[..., None], strange: str) -> None:
    tamper(lambda named: [pair for name, tensor in named for pair in [(strange if name == K_PROJ else name, tensor)]])
    fails(site, f"{strange}: ", f"{K_PROJ}: the policy has it, but it never reached", "To mend: build the engine")


def test_an_unknown_name_that_comes_from_the_policy(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    everything = site.policy.named_weights
    more = lambda: iter([("value_head.weight", torch.ones(1, 64)), *everything()])  # noqa: E731
    monkeypatch.setattr(site.policy, "named_weights", more)
    fails(site, "value_head.weight: the engine's model refused it", "To mend: build the engine from the policy's own config")


def test_a_wrong_shape(site: Site, tamper: Callable[..., None]) -> None:
    tamper(lambda named: [(name, tensor[:-1] if name == K_PROJ else tensor) for name, tensor in named])
    fails(site, f"{K_PROJ}: the engine's model refused it (its shape is [63, 64], the model's [64, 64])", "To mend: build")


def test_a_head_that_keeps_its_packed_copy(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What every reload of vLLM's own does to tied embeddings on CPUs."""
    monkeypatch.setattr(WorkerExtension, "lit_repack_heads", lambda self: None)
    if site.is_tied:
        fails(site, "lm_head.weight: ", "tied to model.embed_tokens.weight", "stale", "To mend: rebuild the packed copies")
    else:
        site.train()
        site.update()


def test_a_layer_that_keeps_its_packed_copy(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = site.model.model.layers[1].mlp.gate_up_proj
    stale = layer.cpu_linear
    monkeypatch.setattr(WorkerExtension, "lit_repack_heads", lambda self: setattr(layer, "cpu_linear", stale))
    fails(
        site,
        "model.layers.1.mlp.gate_proj.weight: it arrived, but the engine multiplies with something else",
        "model.layers.1.mlp.up_proj.weight: ",
    )


def test_a_readable_weight_that_the_model_holds_differently(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    norm = site.model.model.layers[1].self_attn.q_norm.weight
    monkeypatch.setattr(WorkerExtension, "lit_repack_heads", lambda self: norm.data[3].add_(1))
    fails(site, "model.layers.1.self_attn.q_norm.weight: it arrived, but the model holds other values")


def test_an_update_that_is_not_finished(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    finish = WorkerExtension.lit_finish_update
    monkeypatch.setattr(WorkerExtension, "lit_finish_update", lambda self, version: finish(self, version - 1))
    fails(site, f"holds version {site.version} of the weights, expected {site.version + 1}", "Finish every update")


def test_a_prefix_cache_that_is_not_reset(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    assert site.engine._instance is not None
    monkeypatch.setattr(site.engine._instance.llm, "reset_prefix_cache", lambda **kwargs: True)
    fails(site, "prefix cache: 256 of the canary's 257 prompt tokens", "reset_prefix_cache")


def test_an_abandoned_update_leaves_no_trace(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the layers' weights arrived, then the policy's side failed. The next update must not count them in."""
    everything = site.policy.named_weights

    def breaks() -> Iterator[tuple[str, Tensor]]:
        for name, tensor in everything():
            if name == K_PROJ:
                raise ConnectionError("the network is gone")
            yield name, tensor

    monkeypatch.setattr(site.policy, "named_weights", breaks)
    with pytest.raises(ConnectionError):
        site.update()
    assert site.engine.weight_version == -1


def test_ten_updates_of_all_sizes_pass_and_mean_what_they_say(site: Site) -> None:
    """In float32 the log-probs are compared each time; in bfloat16 weights this wild round off too much."""
    assert site.engine._instance is not None
    site.engine._instance._canary.every = 1 if site.dtype == torch.float32 else 0
    for exponent in (-6, -5, -4, -3, -2, -1, 0, -6, -3, -6):
        site.train(10.0**exponent)
        site.update()
        assert site.engine.weight_version == site.version
    site.engine._instance._canary.every = 0


def test_a_change_of_one_bit_in_one_element_is_seen(site: Site, tamper: Callable[..., None]) -> None:
    def flip(named: Named) -> Named:
        changed = dict(named)
        if V_PROJ in changed:
            tensor = changed[V_PROJ].to(site.dtype)
            changed[V_PROJ] = torch.nextafter(tensor, tensor + 1).where(
                torch.arange(tensor.numel()).view_as(tensor) == 777, tensor
            )
        return list(changed.items())

    tamper(flip)
    fails(site, V_PROJ)


def test_messages_are_readable(site: Site, tamper: Callable[..., None]) -> None:
    """Two dozen wrong weights are counted, not listed."""
    tamper(lambda named: [(name, tensor * 2) for name, tensor in named])
    site.train()
    with pytest.raises(
        WeightSyncError, match=re.compile(r"wrong are \d\d of them.*and \d+ more.*To mend", re.DOTALL)
    ) as caught:
        site.update()
    assert len(str(caught.value).splitlines()) < 14
