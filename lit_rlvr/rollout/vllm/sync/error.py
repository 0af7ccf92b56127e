"""The error of every check that an engine runs the policy's weights."""


class WeightSyncError(RuntimeError):
    """The engine does not hold the policy's weights, or still holds something computed from older ones."""
