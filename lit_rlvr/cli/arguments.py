"""The command line before it is parsed: files apply before flags, and flags may interpolate."""

import re
from collections.abc import Sequence

CONFIG_FLAGS = ("-c", "--config")
ABSOLUTE_INTERPOLATION = re.compile(r"\$\{(?=[A-Za-z][\w\[\].]*\})")


def files_before_flags(args: Sequence[str]) -> list[str]:
    """Move every `-c FILE` to the front, in order, so that a flag wins wherever it stands.

    >>> files_before_flags(["--trainer.max_epochs=5", "-c", "a.yaml"])
    ['-c', 'a.yaml', '--trainer.max_epochs=5']
    """
    files, flags = [], []
    remaining = iter(args)
    for arg in remaining:
        if arg in CONFIG_FLAGS:
            files += [arg, *(value for value in [next(remaining, None)] if value is not None)]
        elif arg.startswith(tuple(f"{flag}=" for flag in CONFIG_FLAGS)):
            files += ["-c", arg.split("=", 1)[1]]
        else:
            flags.append(arg)
    return [*files, *flags]


def interpolations_below(section: str, args: Sequence[str]) -> list[str]:
    """Let `${trainer.max_epochs}` in a flag mean what it means in a file, where the keys of `section` are at the top.

    >>> interpolations_below("fit", ["--model.kl_coef=${trainer.max_epochs}"])
    ['--model.kl_coef=${[fit].trainer.max_epochs}']
    """
    # Without the brackets jsonargparse would make the key relative to the flag's setting alone, where there is no other key.
    return [ABSOLUTE_INTERPOLATION.sub(f"${{[{section}].", arg) for arg in args]
