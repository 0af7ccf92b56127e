"""The rows being decoded: sampling, stopping, compaction and refilling, without any Python work per row."""

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor

from lit_rlvr.rollout.decoding import DecodingRoute
from lit_rlvr.rollout.engine import SamplingParams
from lit_rlvr.rollout.sampling import draw, random_streams, uniforms
from lit_rlvr.rollout.token_versions import VersionLog
from lit_rlvr.types import Completion

_LAST, _POSITION, _STEP, _CURSOR, _STREAM, _ALIVE = range(6)
COMPACTION_SHARE = 32
"""Finished rows are dropped once they are at least one in this many: moving rows costs about as much as decoding a few of them."""
REFILL_SHARE = 4
"""Waiting rows join once this share of the batch is free: a prefill for one or two rows would stall all others."""


@dataclass(frozen=True)
class Job:
    """One prompt to prefill, and the rows it is for."""

    token_ids: tuple[int, ...]
    rows: tuple[int, ...]
    """Places of the completions in the result."""
    seeds: tuple[int, ...]


class ContinuousBatch:
    """Decodes jobs, at most `max_rows` rows at once, into `num_rows` completions.

    The state of a row is a column of one integer tensor: its last token, that token's position, the number of tokens drawn, the
    cell of the output it writes next, its random stream, and whether it is still alive. A finished row writes into a spare cell
    until it is dropped.
    """

    def __init__(
        self, route: DecodingRoute, params: SamplingParams, stop_token_ids: Sequence[int], max_rows: int, num_rows: int
    ) -> None:
        self.route = route
        self.params = params
        self.max_rows = max_rows
        device = route.device
        self.stop = torch.tensor(sorted(set(stop_token_ids)), dtype=torch.long, device=device)
        self.state = torch.zeros(6, max_rows, dtype=torch.long, device=device)
        self.active = 0
        self.versions = VersionLog()
        self._running: set[int] = set()
        self.spare_cell = num_rows * params.max_tokens
        self.tokens = torch.full((self.spare_cell + 1,), -1, dtype=torch.long, device=device)
        # The trainer's precision may have made bfloat16 the default type.
        self.logprobs = torch.zeros(self.spare_cell + 1, dtype=torch.float32, device=device)

    def run(
        self,
        jobs: Sequence[Job],
        max_prefill_tokens: int,
        turn: Callable[[], AbstractContextManager[int]],
        on_finished: Callable[[list[int]], None],
    ) -> None:
        """Decode all jobs, the longest prompts first, to their ends.

        Each step, with the prefills before it, runs inside `turn()`, which yields the version of the weights. `on_finished` is told
        the rows that have left the batch, outside of any turn. Keys and values stay as they are when the version changes.
        """
        queue = deque(jobs)
        while queue or self.active:
            with turn() as version:
                self.versions.begin_step(version)
                self._refill(queue, max_prefill_tokens)
                alive = self._step()
                dead = self.active - alive
                has_left = dead * COMPACTION_SHARE >= self.active and dead > 0
                if has_left:
                    self._compact(alive)
            if has_left:
                on_finished(self._finished())

    def _refill(self, queue: deque[Job], max_prefill_tokens: int) -> None:
        if self.active and not (self.route.accepts_any_time and (self.max_rows - self.active) * REFILL_SHARE >= self.max_rows):
            return
        while queue and self._fits(queue[0]):
            chunk = [queue.popleft()]
            length, rows = len(chunk[0].token_ids), len(chunk[0].rows)
            while (
                queue
                and self._fits(queue[0], rows)
                and (len(chunk) + 1) * length <= max_prefill_tokens
                and (self.route.accepts_any_time or len(queue[0].token_ids) == length)
            ):
                rows += len(queue[0].rows)
                chunk.append(queue.popleft())
            self._admit(chunk)
            if not self.route.accepts_any_time:
                return

    def _fits(self, job: Job, taken: int = 0) -> bool:
        return self.active + taken + len(job.rows) <= self.max_rows

    def _admit(self, jobs: Sequence[Job]) -> None:
        self.route.admit([job.token_ids for job in jobs], [len(job.rows) for job in jobs])
        rows = [
            (job.token_ids[-1], len(job.token_ids) - 1, 0, row * self.params.max_tokens, seed, 1)
            for job in jobs
            for row, seed in zip(job.rows, job.seeds, strict=True)
        ]
        new = torch.tensor(rows, device=self.state.device).T
        new[_STREAM] = random_streams(new[_STREAM])
        admitted = [row for job in jobs for row in job.rows]
        self._running.update(admitted)
        self.versions.admit(admitted)
        self.state[:, self.active : self.active + len(rows)] = new
        self.active += len(rows)

    def _step(self) -> int:
        """Draw one token for every row, and return the number of rows still alive."""
        state = self.state[:, : self.active]
        logits = self.route.step(state[_LAST], state[_POSITION])
        token, logprob = draw(logits, uniforms(state[_STREAM], state[_STEP]), self.params)
        cursor, alive = state[_CURSOR], state[_ALIVE]
        self.tokens[cursor] = token
        self.logprobs[cursor] = logprob
        done = (token.unsqueeze(1) == self.stop).any(dim=1) | (state[_STEP] == self.params.max_tokens - 1) | ~logprob.isfinite()
        cursor.masked_fill_(done, self.spare_cell)
        alive.masked_fill_(done, 0)
        state[_LAST] = token
        state[_POSITION : _CURSOR + 1] += alive
        return int(alive.sum())

    def _compact(self, alive: int) -> None:
        """Fill the places of finished rows with the last rows, so that the living ones come first."""
        is_alive = self.state[_ALIVE, : self.active].bool()
        holes = (~is_alive[:alive]).nonzero().squeeze(1)
        last = is_alive[alive:].nonzero().squeeze(1) + alive
        self.state[:, holes] = self.state[:, last]
        self.route.drop(holes, last, alive)
        self.active = alive

    def _finished(self) -> list[int]:
        """Return the rows that have left since the last call; those still here are told by the cells they write to."""
        here = set((self.state[_CURSOR, : self.active] // self.params.max_tokens).tolist())
        finished, self._running = self._running - here, here
        return sorted(finished)

    def completions(self, rows: Sequence[int], names: Sequence[str]) -> list[Completion]:
        """Return the completions of finished rows.

        Raises:
            FloatingPointError: the logits of a token were NaN or infinite; the message holds the row's name.
        """
        chosen = torch.tensor(rows, device=self.tokens.device)
        tokens = self.tokens[:-1].view(-1, self.params.max_tokens)[chosen]
        logprobs = self.logprobs[:-1].view(-1, self.params.max_tokens)[chosen]
        _check_finite(logprobs, [names[row] for row in rows], self.versions.latest)
        lengths = (tokens >= 0).sum(dim=1).tolist()
        tokens, logprobs, stop = tokens.cpu(), logprobs.cpu(), set(self.stop.tolist())
        results = []
        for i, (row, length) in enumerate(zip(rows, lengths, strict=True)):
            ids, versions = tuple(tokens[i, :length].tolist()), self.versions.of(row, length)
            results.append(
                Completion(
                    token_ids=ids,
                    logprobs=tuple(logprobs[i, :length].tolist()),
                    finish_reason="stop" if ids[-1] in stop else "length",
                    weight_version=min(versions),
                    semantics=self.params.semantics,
                    token_versions=versions if len(set(versions)) > 1 else (),
                )
            )
        return results


def _check_finite(logprobs: Tensor, names: Sequence[str], weight_version: int) -> None:
    broken = (~logprobs.isfinite()).nonzero()
    if len(broken):
        row, token = broken[0].tolist()
        raise FloatingPointError(
            f"the logits of {names[row]}, token {token}, are NaN or infinite (weights version {weight_version}; {len(broken)} such"
            " rows): the last update broke the weights; resume from an earlier checkpoint with a lower learning rate"
        )
