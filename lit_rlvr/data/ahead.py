"""The iterations to come are collected in the background, while the policy is trained on the one before."""

import sys
import threading
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from lit_rlvr.data.asynchronous import AsyncConfig
from lit_rlvr.data.iteration_collector import Collection, IterationCollector, IterationRecipe
from lit_rlvr.data.production import Production
from lit_rlvr.data.ranks import Ranks
from lit_rlvr.data.stored_groups import restored, stored
from lit_rlvr.rollout.statistics import staleness_statistics, token_versions

PATIENCE_SECONDS = 60.0
"""How long the end of a run waits for a generation that it has interrupted."""
SWITCH_SECONDS = 0.0005
"""After how long a thread that computes hands Python's lock to one that waits for it. Those that talk to servers take it many times for
each completion; with Python's 5 ms they are slowed down several times by a trainer that launches small operations."""
USUAL_SWITCH_SECONDS = sys.getswitchinterval()
"""The same while nothing is collected ahead."""


class AheadCollector(IterationCollector):
    """Collects the iterations to come in one background thread, in their order.

    The engine is given weights in the main thread only, between two iterations of training: no weight changes while they are
    read, and reading them may be a collective.

    Args:
        recipe: how an iteration is collected.
        asynchronous: how far ahead, and when the engine is given weights.
    """

    def __init__(self, recipe: IterationRecipe, asynchronous: AsyncConfig) -> None:
        super().__init__(recipe)
        self.asynchronous = asynchronous
        self._ranks = Ranks()
        self._production: Production[Collection] | None = None
        self._restored: dict[int, Collection] = {}
        self._starts: dict[int, int] = {}
        self._prompts_taken = self.stream.drawn
        self._progress: tuple[int, int] | None = None
        self._listener: Callable[[int, int], None] | None = None

    @property
    def prompts_taken(self) -> int:
        """Prompts drawn for the iterations that were handed out."""
        return self._prompts_taken

    def take(self, iteration: int, num_more: float, ranks: Ranks) -> Collection:
        """Return the next iteration, and have at most `num_more` after it collected. A collective, in the main thread.

        Raises:
            RuntimeError: a token is older than `max_staleness` allows: the engine does not hold the weights that it was given.
            BaseException: whatever was raised in the background, with its traceback.
        """
        production = self._running(ranks)
        self._starts[iteration] = self.collector.current_version
        if self.asynchronous.partial_rollouts or iteration not in production:
            self.collector.sync()
        production.submit(iteration)
        collection = production.take(iteration, self._report)
        self._progress = None
        if not self.asynchronous.partial_rollouts:
            self.collector.sync()
        for later in range(iteration + 1, iteration + 1 + int(min(self.asynchronous.max_staleness, num_more))):
            production.submit(later)
        self._prompts_taken = collection.end
        return self._dated(collection, iteration)

    def wait(self) -> None:
        """Wait until nothing is being collected, so that the engine is free for something else.

        Raises:
            BaseException: whatever was raised in the background, with its traceback.
        """
        if self._production is not None:
            self._production.wait_for_all()

    def stop(self) -> None:
        """End the thread, and give the prompts back to the stream whose completions were not taken."""
        if self._production is None:
            return
        self.collector.interrupt()
        if self._production.stop(PATIENCE_SECONDS):
            self.stream.drawn = self._prompts_taken
            self._ranks.leave_own_group()
        else:
            kind = type(self.collector.engine).__name__
            message = f"{kind} still generates {PATIENCE_SECONDS:.0f} s after it was interrupted; nobody waits for it any more"
            warnings.warn(message, stacklevel=2)
        self.collector.engine.on_progress = self._listener
        sys.setswitchinterval(USUAL_SWITCH_SECONDS)
        self._production, self._starts = None, {}

    def state_dict(self) -> dict[str, Any]:
        """Return the iterations that are complete but not taken, and the versions of the weights with which the last ones started."""
        finished = sorted((self._production.finished() if self._production else self._restored).items())
        return {
            "max_staleness": self.asynchronous.max_staleness,
            "starts": dict(self._starts),
            "finished": [{"iteration": i, "end": c.end, "seconds": c.seconds, "groups": stored(c.groups)} for i, c in finished],
        }

    def load_state_dict(self, state: Mapping[str, Any] | None, prompts_taken: int) -> None:
        """Go on where `state_dict` was taken, or where a run without this was.

        Iterations that were collected under a wider bound of the staleness than today's are collected again.
        """
        self._prompts_taken, self._starts, self._restored = prompts_taken, {}, {}
        if state is not None and state["max_staleness"] <= self.asynchronous.max_staleness:
            self._starts = dict(state["starts"])
            for kept in state["finished"]:
                groups = restored(kept["groups"], self.stream.rows)
                self._restored[kept["iteration"]] = Collection(groups, kept["seconds"], kept["end"])
        self.stream.drawn = max([prompts_taken, *(collection.end for collection in self._restored.values())])

    def _running(self, ranks: Ranks) -> Production[Collection]:
        """Return the thread, started at the first call."""
        if self._production is None:
            self._ranks = ranks.on_own_group()
            engine = self.collector.engine
            self._listener, engine.on_progress = engine.on_progress, self._hear
            sys.setswitchinterval(min(USUAL_SWITCH_SECONDS, SWITCH_SECONDS))
            self._production = Production(self._make, "rollouts")
            for iteration, collection in self._restored.items():
                self._production.put(iteration, collection)
            self._restored = {}
        return self._production

    def _make(self, iteration: int) -> Collection:
        return self.recipe.collect(iteration, self._ranks, self.collector.sample)

    def _dated(self, collection: Collection, iteration: int) -> Collection:
        """Return the collection with the statistics of its staleness, after holding it against the bound."""
        versions = token_versions(collection.groups.seen)
        first = max(iteration - self.asynchronous.max_staleness, min(self._starts))
        self._starts = {i: version for i, version in self._starts.items() if i >= first}
        if min(versions) < self._starts[first]:
            raise RuntimeError(
                f"iteration {iteration} has tokens of version {min(versions)}, older than data.asynchronous.max_staleness="
                f"{self.asynchronous.max_staleness} allows: version {self._starts[first]}, with which iteration {first} started. "
                f"{type(self.collector.engine).__name__} does not sample from the weights that it was given"
            )
        return replace(collection, statistics=staleness_statistics(versions, self._starts, iteration))

    def _hear(self, done: int, total: int) -> None:
        """Take the engine's progress: pass it on in the main thread, where the listener lives, and remember it in any other."""
        if threading.current_thread() is not threading.main_thread():
            self._progress = (done, total)
        elif self._listener is not None:
            self._listener(done, total)

    def _report(self) -> None:
        """Tell the listener how far the iteration is that everybody waits for."""
        if self._listener is not None and self._progress is not None:
            self._listener(*self._progress)
