"""Errors of `${...}` in a configuration, in the user's terms."""

import re
from collections.abc import Sequence

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationKeyError, OmegaConfBaseException, UnsupportedInterpolationType

from lit_rlvr.cli.config_location import STRUCTURE, find_setting
from lit_rlvr.cli.suggestion import did_you_mean


def explain_interpolation(error: OmegaConfBaseException, section: str, args: Sequence[str]) -> str:
    """Return which setting interpolates what, where it stands, and the nearest existing key.

    Args:
        error: what omegaconf raised.
        section: the subcommand, under which the configuration is nested while it is resolved.
        args: the command line.
    """
    key = str(error.full_key or "").removeprefix(f"{section}.")
    setting = find_setting([part for part in re.split(r"[.\[\]]+", key) if part not in STRUCTURE and not part.isdigit()], args)
    place = f"'{key}'" + (f" ({setting.place})" if setting else "")
    if isinstance(error, InterpolationKeyError):
        wanted = re.search(r"resolved to '([^']+)'", str(error)) or re.search(r"Interpolation key '([^']+)'", str(error))
        if wanted:
            return f"{place} refers to {_missing(error, wanted[1].replace('[', '').replace(']', ''), section)}"
    if isinstance(error, UnsupportedInterpolationType):
        return f"{place}: {str(error).splitlines()[0]}. For an environment variable write ${{oc.env:NAME,default}}."
    return f"{place}: {str(error).splitlines()[0]}"


def _missing(error: OmegaConfBaseException, wanted: str, section: str) -> str:
    above, _, name = wanted.rpartition(".")
    root = error.parent_node._get_root() if error.parent_node is not None else None
    siblings = OmegaConf.select(root, above) if root is not None and above else root
    known = [str(key) for key in siblings] if isinstance(siblings, DictConfig) else []
    shown = wanted.removeprefix(f"{section}.")
    return f"'${{{shown}}}', which does not exist.{did_you_mean(name, known)}"
