"""Requests on a vLLM engine that several threads may push on: rollouts, an update's canary, an evaluation."""

from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import AbstractContextManager
from typing import Any

from lit_rlvr.rollout.vllm.isolation import TurnsByArrival


class RequestLoop:
    """Steps an engine until one's own requests are finished; what others have asked for is kept for them.

    Args:
        llm: a `vllm.LLM` in this process.
        turns: whoever holds it is alone with the engine.
        inside: returns the context that everything that vLLM computes runs in.
    """

    def __init__(self, llm: Any, turns: TurnsByArrival, inside: Callable[[], AbstractContextManager[None]]) -> None:
        self._engine = llm.llm_engine
        self._turns = turns
        self._inside = inside
        self._finished: dict[str, Any] = {}
        self._count = 0
        self.failure: BaseException | None = None
        """Why the engine was given up: everybody who waits for a completion fails with it."""

    def submit(self, requests: Sequence[tuple[Sequence[int], Any]], is_urgent: bool = False) -> list[str]:
        """Ask for completions of tokens, each with its `vllm.SamplingParams`, and return their names. Call it in turn.

        They are served in their order, the same on every rank of an engine; urgent ones before all that wait.
        """
        from vllm.inputs import tokens_input

        names = []
        with self._inside():
            for token_ids, params in requests:
                name = f"lit-{self._count}"
                self._count += 1
                prompt = tokens_input(list(token_ids))
                self._engine.add_request(name, prompt, params, arrival_time=float(self._count), priority=-1 if is_urgent else 0)
                names.append(name)
        return names

    def run(self, names: Collection[str]) -> Generator[tuple[str, Any], None, None]:
        """Yield the requests as they finish, taking a turn for each step. What has not been yielded at the end is aborted."""
        waiting = set(names)
        try:
            while waiting:
                with self._turns:
                    done = self.step(waiting)
                waiting -= done.keys()
                yield from done.items()
        finally:
            if waiting:
                with self._turns:
                    self.abort(waiting)

    def step(self, mine: Collection[str]) -> dict[str, Any]:
        """Compute one token of every running request, and return which of mine are finished. Call it in turn.

        Raises:
            RuntimeError: the engine was given up in the meantime.
        """
        if self.failure is not None:
            raise RuntimeError(
                "no completion comes any more: an update of the engine's weights failed, or it was closed"
            ) from self.failure
        done = {name: self._finished.pop(name) for name in mine if name in self._finished}
        if not done:
            with self._inside():
                outputs = self._engine.step()
            self._finished.update({output.request_id: output for output in outputs if output.finished})
            done = {name: self._finished.pop(name) for name in mine if name in self._finished}
        return done

    def abort(self, names: Collection[str]) -> None:
        """Forget requests. Call it in turn."""
        self._engine.abort_request([name for name in names if name not in self._finished])
        for name in names:
            self._finished.pop(name, None)
