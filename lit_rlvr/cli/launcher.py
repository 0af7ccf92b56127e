"""What an external launcher (`torchrun`, `fabric run`) decided about processes, as Trainer settings.

The Trainer itself reads none of it: started twice by a launcher, it would run two independent trainings.
"""

from collections.abc import Mapping

FABRIC_SETTINGS = {
    "LT_ACCELERATOR": "accelerator",
    "LT_STRATEGY": "strategy",
    "LT_DEVICES": "devices",
    "LT_NUM_NODES": "num_nodes",
    "LT_PRECISION": "precision",
}
"""Variables by which `fabric run` passes its flags on, and the Trainer settings they stand for."""


def launcher_overrides(environment: Mapping[str, str]) -> dict[str, str | int]:
    """Return the Trainer settings that the launcher fixes; empty when no launcher started this process.

    Under `torchrun` (and `fabric run`, which uses it) the number of processes is a fact, so devices and nodes come from it.

    Args:
        environment: the process's environment variables.

    Raises:
        ValueError: when the nodes do not all run the same number of processes.
    """
    settings: dict[str, str | int] = {}
    if environment.get("LT_CLI_USED") == "1":
        settings = {name: _number_or_text(environment[key]) for key, name in FABRIC_SETTINGS.items() if key in environment}
    if "TORCHELASTIC_RUN_ID" in environment:
        world, local = int(environment["WORLD_SIZE"]), int(environment["LOCAL_WORLD_SIZE"])
        if world % local:
            raise ValueError(
                f"WORLD_SIZE={world} is no multiple of LOCAL_WORLD_SIZE={local}: start as many processes on every node"
            )
        settings.update(num_nodes=world // local)
        if not _names_devices(settings.get("devices"), local):
            settings["devices"] = local
    return settings


def _names_devices(devices: str | int | None, count: int) -> bool:
    """Return whether this is a list such as `2,3` of `count` devices: it says which ones, which a number would lose."""
    return isinstance(devices, str) and "," in devices and len([d for d in devices.split(",") if d]) == count


def _number_or_text(value: str) -> str | int:
    return int(value) if value.lstrip("-").isdigit() else value
