"""How servers are told which weights they hold, so that they can tell which ones sampled a token."""


class Labels:
    """Names of weights, as servers are told them: `run/update/version`.

    The run keeps apart trainers that use the same server, the number of the update weights that were sent under the same version.

    Args:
        run: unique to this engine.
    """

    def __init__(self, run: str) -> None:
        self.run = run

    def of(self, update: int, version: int) -> str:
        """Return the label of weights."""
        return f"{self.run}/{update}/{version}"

    def update(self, label: str) -> int:
        """Return the number of the update that brought weights of this label; -1 when they are not of this run."""
        return self._numbers(label)[0]

    def version(self, label: str) -> int:
        """Return the version of weights of this label; -1 when they are not of this run."""
        return self._numbers(label)[1]

    def _numbers(self, label: str) -> tuple[int, int]:
        run, _, numbers = label.partition("/")
        update, _, version = numbers.partition("/")
        return (int(update), int(version)) if run == self.run else (-1, -1)
