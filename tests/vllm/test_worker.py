"""The worker's side of an update, in the real vLLM: other architectures, files, portions of any size, and misuse."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
import torch
from safetensors.torch import save, save_file
from torch import Tensor
from transformers import AutoConfig, LlamaConfig, PreTrainedConfig, Qwen2Config

from lit_rlvr.modules.loading import PolicyConfig
from lit_rlvr.modules.policy import Policy
from lit_rlvr.rollout.vllm import VLLMEngine
from lit_rlvr.rollout.vllm.sync.proof import PolicyFingerprints, SyncReport, WeightSyncError, compare

SIZES = {
    "vocab_size": 100,  # not a multiple of 64: vLLM pads it
    "hidden_size": 96,
    "intermediate_size": 160,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "num_key_value_heads": 1,
    "max_position_embeddings": 512,
    "initializer_range": 0.2,
    "eos_token_id": 1,
    "pad_token_id": 0,
    "bos_token_id": None,
}
CONFIGS: dict[str, PreTrainedConfig] = {
    "qwen2-biases": Qwen2Config(**SIZES, tie_word_embeddings=True, architectures=["Qwen2ForCausalLM"]),
    "llama-untied": LlamaConfig(**SIZES, tie_word_embeddings=False, architectures=["LlamaForCausalLM"]),
    "llama-all-biases": LlamaConfig(
        **SIZES, tie_word_embeddings=True, attention_bias=True, mlp_bias=True, architectures=["LlamaForCausalLM"]
    ),
}
CASES = [
    ("qwen2-biases", "float32"),
    ("qwen2-biases", "bfloat16"),
    ("llama-untied", "float32"),
    ("llama-all-biases", "bfloat16"),
]


class Site:
    """A policy with random weights and biases, and vLLM with its architecture."""

    def __init__(self, folder: Path, config: PreTrainedConfig, dtype: Any) -> None:
        config.save_pretrained(folder)
        assert AutoConfig.from_pretrained(folder).vocab_size == 100
        self.policy = Policy(PolicyConfig(str(folder), random_init=True))
        self.dtype = getattr(torch, dtype)
        self.engine = VLLMEngine(dtype=dtype, max_model_len=300, kv_cache_gb=0.05, enforce_eager=True)
        self.change()
        self.engine.update_weights(self.policy, 0)

    @torch.no_grad()
    def change(self) -> None:
        for weight in self.policy.model.parameters():
            weight.add_(0.02 * torch.randn(weight.shape))

    def call(self, method: str, *arguments: Any) -> Any:
        assert self.engine._instance is not None
        return self.engine._instance.llm.collective_rpc(method, args=arguments)

    def expected(self, version: int) -> PolicyFingerprints:
        expected = PolicyFingerprints(self.dtype, version)
        for _ in expected.watch(self.policy.named_weights()):
            pass
        return expected


@pytest.fixture(scope="module", params=CASES, ids=[f"{name}-{dtype}" for name, dtype in CASES])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    name, dtype = request.param
    torch.manual_seed(0)
    built = Site(tmp_path_factory.mktemp(name), CONFIGS[name], dtype)
    yield built
    built.engine.close()


def test_every_weight_and_bias_is_proven(site: Site) -> None:
    report = compare(site.expected(0), site.call("lit_fingerprints"))
    names = [name for name, _ in site.policy.named_weights()]
    head = "lm_head.weight" not in names
    matrices = [name for name in names if "_proj.weight" in name]
    assert report.received == len(names)
    assert report.sampled == len(matrices) + 1
    assert report.read_back == len(names) - len(matrices) + head
    assert report.unproven == ()


def test_an_update_through_the_engine_is_compared_with_the_policys_logprobs(site: Site) -> None:
    assert site.engine._instance is not None
    site.engine._instance._canary.every = 1
    for version in (1, 2):
        site.change()
        site.engine.update_weights(site.policy, version)
    assert site.call("lit_weight_version") == [2]


@pytest.mark.parametrize("per_bucket", [1, 3, 1000])
def test_portions_may_cut_through_fused_layers(site: Site, per_bucket: int) -> None:
    site.change()
    send(site, 7, list(site.policy.named_weights()), per_bucket)
    assert compare(site.expected(7), site.call("lit_fingerprints")).unproven == ()


def test_the_order_of_the_weights_does_not_matter(site: Site) -> None:
    site.change()
    named = list(site.policy.named_weights())
    send(site, 8, [named[i] for i in torch.randperm(len(named)).tolist()], 2)
    assert compare(site.expected(8), site.call("lit_fingerprints")).unproven == ()


@pytest.mark.parametrize("place", ["a local file", "a URL"])
def test_weights_may_come_from_files(site: Site, tmp_path: Path, place: str) -> None:
    site.change()
    named = list(site.policy.named_weights())
    site.call("lit_begin_update")
    for number, part in enumerate((named[:7], named[7:])):
        tensors = {name: tensor.to(site.dtype).contiguous() for name, tensor in part}
        path = str(tmp_path / f"{number}.safetensors")
        if place == "a URL":
            path = f"memory://lit_rlvr_test/{number}.safetensors"
            with fsspec.open(path, "wb") as file:
                file.write(save(tensors))
        else:
            save_file(tensors, path)
        site.call("lit_load_file", path)
        if place == "a local file":
            Path(path).unlink()
    site.call("lit_finish_update", "9")  # as a server's client sends it
    assert compare(site.expected(9), site.call("lit_fingerprints")).unproven == ()


def test_what_the_engine_holds_is_a_copy(site: Site) -> None:
    send(site, 10, list(site.policy.named_weights()), 5)
    before = site.expected(10)
    site.change()
    assert isinstance(compare(before, site.call("lit_fingerprints")), SyncReport)
    with pytest.raises(WeightSyncError):
        compare(site.expected(10), site.call("lit_fingerprints"))


def test_a_broken_off_update_is_not_counted_in(site: Site) -> None:
    """Queries arrive twice, values once: counted together a layer would be complete before its values are there."""
    named = list(site.policy.named_weights())
    site.call("lit_begin_update")
    site.call("lit_load_tensors", [(name, torch.zeros_like(tensor)) for name, tensor in named if "q_proj" in name])
    assert site.call("lit_weight_version") == [-1]
    site.change()
    send(site, 11, list(site.policy.named_weights()), 1)
    assert compare(site.expected(11), site.call("lit_fingerprints")).unproven == ()


def test_steps_out_of_order_are_refused(site: Site) -> None:
    with pytest.raises(RuntimeError, match="call lit_begin_update first"):
        site.call("lit_load_tensors", [])
    with pytest.raises(RuntimeError, match="update 3 was finished but never begun"):
        site.call("lit_finish_update", 3)
    site.call("lit_begin_update")
    with pytest.raises(RuntimeError, match="call lit_finish_update first"):
        site.call("lit_fingerprints")


def test_answers_are_plain_data(site: Site) -> None:
    send(site, 12, list(site.policy.named_weights()), 100)
    for row in site.call("lit_fingerprints")[0]:
        assert [type(value) for value in row[:4]] == [str, str, str, list]
        assert all(value is None or (isinstance(value, int) and 0 <= value < 2**62) for value in row[4:6])
        assert all(type(size) is int for size in row[3])


def send(site: Site, version: int, named: list[tuple[str, Tensor]], per_bucket: int) -> None:
    site.call("lit_begin_update")
    for start in range(0, len(named), per_bucket):
        site.call("lit_load_tensors", named[start : start + per_bucket])
    site.call("lit_finish_update", version)
