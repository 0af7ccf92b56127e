"""What runs inside vLLM's worker: takes weights over in buckets, and tells what the model computes with afterwards."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lit_rlvr.rollout.vllm.sync.fingerprint import Fingerprint, block_hash, dtype_name
from lit_rlvr.rollout.vllm.sync.placement import find_placement
from lit_rlvr.rollout.vllm.sync.readback import read_back

REFUSALS = (AssertionError, KeyError, RuntimeError, ValueError)
"""What vLLM's loaders raise for a weight they have no place for."""


class WorkerExtension:
    """Methods added to vLLM's worker with `worker_extension_cls="lit_rlvr.rollout.vllm.sync.worker.WorkerExtension"`.

    An update is `lit_begin_update`, any number of loads, `lit_finish_update`. All results are plain data (numbers, strings, lists).
    A weight that vLLM refuses is remembered, not raised: half an update must not leave the model in pieces. It comes back as a
    fingerprint whose source is `refused`.
    """

    model_runner: Any
    vllm_config: Any
    _lit_version: int = -1
    _lit_is_open: bool = False
    _lit_received: dict[str, Fingerprint]

    def lit_begin_update(self) -> None:
        """Prepare the model to be loaded again. An update that was begun and never finished is dropped first."""
        from vllm.config import set_current_vllm_config
        from vllm.model_executor.model_loader.reload import initialize_layerwise_reload

        if self._lit_is_open:
            self._lit_forget_buffered()
            self._lit_close()
        self._lit_received = {}
        self._lit_version = -1
        with set_current_vllm_config(self.vllm_config):
            initialize_layerwise_reload(self._lit_model())
        self._lit_is_open = True

    def lit_load_tensors(self, named: list[tuple[str, Tensor]]) -> None:
        """Load one bucket of weights, of this process.

        Raises:
            RuntimeError: no update was begun.
        """
        from vllm.config import set_current_vllm_config

        if not self._lit_is_open:
            raise RuntimeError("weights were sent outside an update: call lit_begin_update first")
        model: Any = self._lit_model()
        pending = list(reversed(named))
        with set_current_vllm_config(self.vllm_config), torch.no_grad():
            while pending:
                unplaced: list[str] = []
                try:
                    model.load_weights(self._lit_stream(pending, unplaced))
                except REFUSALS as error:
                    if not unplaced:
                        raise
                    name = unplaced[0]
                    reason = f"{type(error).__name__}: {error}"
                    self._lit_received[name] = self._lit_received[name]._replace(source="refused", note=reason)

    def lit_load_file(self, path: str) -> None:
        """Load one bucket of weights from a safetensors file (a local path or an fsspec URL)."""
        from safetensors.torch import load, load_file

        if "://" not in path:
            self.lit_load_tensors(list(load_file(Path(path)).items()))
            return
        import fsspec

        with fsspec.open(path, "rb") as file:
            self.lit_load_tensors(list(load(file.read()).items()))

    def lit_finish_update(self, version: int | str) -> None:
        """Compute with the weights that were sent from now on, and remember their version (a number; over HTTP perhaps as text).

        Raises:
            RuntimeError: no update was begun.
        """
        if not self._lit_is_open:
            raise RuntimeError(f"update {version} was finished but never begun: call lit_begin_update first")
        self._lit_close()
        self._lit_version = int(version)

    def lit_weight_version(self) -> int:
        """Return the version of the weights; -1 before the first update, and while one is going on."""
        return self._lit_version

    def lit_fingerprints(self) -> list[list[Any]]:
        """Return the rows of `Fingerprint` of what the last update brought and of what the model computes with.

        Raises:
            RuntimeError: no update was finished yet.
        """
        if self._lit_version < 0:
            raise RuntimeError("fingerprints are of a finished update: call lit_finish_update first")
        version = Fingerprint("", "version", "", [], self._lit_version)
        received = list(self._lit_received.values())
        computed = read_back(self._lit_model(), received, self.vllm_config.model_config, self._lit_version)
        return [list(row) for row in [version, *received, *computed]]

    def lit_repack_heads(self) -> None:
        """Rebuild the packed copies of embedding matrices that vLLM's CPU backend multiplies with.

        A reload rebuilds the copies of layers that were sent weights. A head that is tied to the input embedding is sent none, and
        would go on computing with its old copy.
        """
        from vllm.model_executor.layers.vocab_parallel_embedding import VocabParallelEmbedding
        from vllm.platforms import current_platform

        if not current_platform.is_cpu():
            return
        for module in self._lit_model().modules():
            if isinstance(module, VocabParallelEmbedding):
                module.quant_method.process_weights_after_loading(module)

    def _lit_close(self) -> None:
        from vllm.config import set_current_vllm_config
        from vllm.model_executor.model_loader.reload import finalize_layerwise_reload

        with set_current_vllm_config(self.vllm_config), torch.no_grad():
            finalize_layerwise_reload(self._lit_model(), self.vllm_config.model_config)
            self.lit_repack_heads()
        self._lit_is_open = False

    def _lit_forget_buffered(self) -> None:
        """Drop what a broken-off update left in layers that wait for the rest of their weights.

        Counted together with the next update's, it would make a layer seem complete before all of its new weights are there.
        """
        from vllm.model_executor.model_loader.reload.layerwise import get_layerwise_info

        for module in self._lit_model().modules():
            info = get_layerwise_info(module)
            info.loaded_weights = []
            info.load_numel = 0

    def _lit_stream(self, pending: list[tuple[str, Tensor]], unplaced: list[str]) -> Iterator[tuple[str, Tensor]]:
        """Yield what is left of a bucket, last first. `unplaced` holds the name of the latest one, if no place is known for it.

        A weight of the wrong shape is held back: vLLM would stumble over it again with each other weight of the layer.
        """
        dtype = self.vllm_config.model_config.dtype
        while pending:
            unplaced.clear()
            name, tensor = pending.pop()
            exact = block_hash(tensor, dtype, device=self.model_runner.device)
            received = Fingerprint(name, "received", dtype_name(tensor.dtype), list(tensor.shape), exact)
            place = find_placement(self._lit_model(), name, tuple(tensor.shape))
            if place is None:
                unplaced.append(name)
            elif place.whole not in (None, tuple(tensor.shape)):
                received = received._replace(
                    source="refused", note=f"its shape is {received.shape}, the model's {list(place.whole)}"
                )
            self._lit_received[name] = received
            if received.source == "received":
                yield name, tensor

    def _lit_model(self) -> nn.Module:
        return self.model_runner.get_model()
