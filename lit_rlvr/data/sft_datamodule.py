"""The supervised DataModule: conversations in, weighted micro-batches out."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from lightning.pytorch import LightningDataModule

from lit_rlvr.batching import balanced_runs, within_token_budget
from lit_rlvr.data.chat import load_tokenizer
from lit_rlvr.data.collate import collate_sft
from lit_rlvr.data.encoding import EncodedConversation, encode_conversations
from lit_rlvr.data.loaders import LazyLoader
from lit_rlvr.data.prompt_stream import ShuffledStream
from lit_rlvr.data.ranks import Ranks
from lit_rlvr.data.settings import ChatFormat
from lit_rlvr.data.sources import ConversationSource
from lit_rlvr.types import SFTBatch


class SFTDataModule(LightningDataModule):
    """Deals conversations to optimizer steps, and each step to micro-batches of balanced length.

    The prompt is rendered exactly as in RL and the response is followed by the end-of-sequence token, so that SFT teaches what
    rollouts will sample. The loss of an optimizer step is a token mean over all its responses, on all ranks.

    Args:
        format: tokenizer and chat template.
        train: conversations to imitate.
        val: held-out conversations.
        test: held-out conversations for `test`.
        batch_size: conversations per optimizer step, over all ranks and micro-batches.
        max_tokens: longest conversation, prompt and response together.
        drop_long: leave longer conversations out, with a warning that counts them, instead of stopping.
        eval_batch_tokens: padded tokens per evaluation batch.
        seed: decides the order.
    """

    def __init__(
        self,
        format: ChatFormat,
        train: ConversationSource,
        val: ConversationSource | None = None,
        test: ConversationSource | None = None,
        batch_size: int = 64,
        max_tokens: int = 4096,
        drop_long: bool = False,
        eval_batch_tokens: int = 16384,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise ValueError(f"data.batch_size must be at least 1, got {batch_size}")
        self.format = format
        self.sources = {"train": train, "validation": val, "test": test}
        self.batch_size = batch_size
        self.max_tokens = max_tokens
        self.drop_long = drop_long
        self.eval_batch_tokens = eval_batch_tokens
        self.seed = seed
        self.rows: dict[str, list[EncodedConversation]] = {}
        self.ranks = Ranks()
        self._stream: ShuffledStream[EncodedConversation] | None = None
        self._handed_out = 0

    def setup(self, stage: str) -> None:
        """Load the tokenizer and the conversations of the stage."""
        if self.trainer is not None:
            self.ranks = Ranks(self.trainer.global_rank, self.trainer.world_size)
        if not hasattr(self, "tokenizer"):
            self.tokenizer = load_tokenizer(self.format.tokenizer)
        for name in {"fit": ("train", "validation"), "validate": ("validation",), "test": ("test",)}.get(stage, ()):
            source = self.sources[name]
            if source is not None and name not in self.rows:
                conversations = source.load()
                self.rows[name] = encode_conversations(
                    self.tokenizer, conversations, self.format, self.max_tokens, self.drop_long
                )
        if "train" in self.rows and self._stream is None:
            self._stream = ShuffledStream(self.rows["train"], self.seed)

    def train_dataloader(self) -> LazyLoader[SFTBatch]:
        """Return a loader that goes through the conversations once per epoch, in a new order each time."""
        return LazyLoader(self._steps_per_epoch * self._per_step, self._train_batches)

    def val_dataloader(self) -> LazyLoader[SFTBatch] | list[Any]:
        """Return a loader over the held-out conversations, each exactly once over all ranks; `fit` can do without them."""
        if "validation" not in self.rows and self.trainer is not None and self.trainer.state.fn == "validate":
            raise ValueError("data.val is not set: there are no conversations to validate on")
        return self._evaluation_loader("validation")

    def test_dataloader(self) -> LazyLoader[SFTBatch] | list[Any]:
        """Return a loader over the test conversations, each exactly once over all ranks."""
        if "test" not in self.rows:
            raise ValueError("data.test is not set: there are no conversations to test on")
        return self._evaluation_loader("test")

    @property
    def _per_step(self) -> int:
        return self.trainer.accumulate_grad_batches if self.trainer is not None else 1

    @property
    def _steps_per_epoch(self) -> int:
        return -(-len(self.rows["train"]) // self.batch_size)

    def _train_batches(self) -> Iterator[SFTBatch]:
        assert self._stream is not None
        total = self._steps_per_epoch * self._per_step
        if self._handed_out >= total:
            self._handed_out = 0
        for step in range(self._handed_out // self._per_step, self._steps_per_epoch):
            start = step * self.batch_size
            self._stream.drawn = self._epoch_start + start
            rows = self._stream.draw(min(self.batch_size, len(self.rows["train"]) - start))
            for micro_batch in self._micro_batches(rows)[self._handed_out % self._per_step :]:
                self._handed_out += 1
                yield micro_batch

    @property
    def _epoch_start(self) -> int:
        """Rows drawn before this epoch."""
        assert self.trainer is not None
        return self.trainer.current_epoch * len(self.rows["train"])

    def _micro_batches(self, rows: list[EncodedConversation]) -> list[SFTBatch]:
        """Return this rank's micro-batches of an optimizer step, weighted over all of them."""
        whole = collate_sft([row.prompt for row in rows], [row.response for row in rows])
        runs = balanced_runs([row.length for row in rows], self.ranks.world_size * self._per_step)
        return [_select(whole, run) for run in runs[self.ranks.rank :: self.ranks.world_size]]

    def _evaluation_loader(self, stage: str) -> LazyLoader[SFTBatch] | list[Any]:
        rows = self.rows.get(stage)
        if not rows:
            return []
        runs = within_token_budget([row.length for row in rows], self.eval_batch_tokens)
        runs += [[] for _ in range(-len(runs) % self.ranks.world_size)]
        mine = self.ranks.share(runs)

        def batch(run: list[int]) -> SFTBatch:
            chosen = [rows[i] for i in run or [0]]
            return _select(collate_sft([c.prompt for c in chosen], [c.response for c in chosen]), list(range(len(run))))

        return LazyLoader(len(mine), lambda: (batch(run) for run in mine))

    def state_dict(self) -> dict[str, Any]:
        """Return how many micro-batches of the unfinished epoch have been handed out."""
        return {"handed_out": self._handed_out % (self._steps_per_epoch * self._per_step)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self._handed_out = state_dict["handed_out"]


def _select(whole: SFTBatch, run: list[int]) -> SFTBatch:
    """Return the rows of a run; for an empty one the first row without weight, which keeps the ranks in step."""
    if run:
        return whole.rows(torch.tensor(run))
    row = whole.rows(torch.tensor([0]))
    return replace(row, loss_weights=torch.zeros_like(row.loss_weights))
