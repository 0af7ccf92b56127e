"""Whether every setting does something."""

from collections.abc import Sequence

from lightning.pytorch import Trainer

from lit_rlvr.cli.config_location import find_setting
from lit_rlvr.doctor.check import Check
from lit_rlvr.doctor.configured import Configured, configured
from lit_rlvr.doctor.finding import Finding, green, red
from lit_rlvr.doctor.patient import Patient
from lit_rlvr.doctor.reading import is_read, place_of


class Settings(Check):
    """Looks into the source of every class of the configuration for parameters that it takes and never reads.

    Unknown keys never get here: the parser refuses them.
    """

    name = "settings"

    def run(self, patient: Patient) -> Finding:
        """Ask for every parameter that the configuration sets; defaults that nobody has set may do nothing."""
        classes = classes_of(patient.config)
        problems = unread_settings(classes, patient.args)
        if problems:
            mend = "let the class read it, or take it out of the configuration"
            return red(f"{len(problems)} of the settings do nothing", *problems, mend=mend)
        count = sum(len(part.settings) for part in classes)
        return green(f"{count} settings of {len(classes)} classes, each read by its class")


def classes_of(config: object) -> list[Configured]:
    """Return the classes of a resolved configuration of `rl fit`, the Trainer among them."""
    classes = list(configured(config))
    trainer = getattr(config, "trainer", None)
    return [*classes, Configured(Trainer, ("trainer",), tuple(vars(trainer)))] if trainer is not None else classes


def unread_settings(classes: Sequence[Configured], args: Sequence[str]) -> list[str]:
    """Return a line for each parameter that the command line sets and its class never reads.

    Args:
        classes: of the resolved configuration.
        args: the command line, with its configuration files.
    """
    unread = [(part, name) for part in classes for name in part.settings if not is_read(part.thing, name)]
    lines = []
    for part, name in unread:
        setting = find_setting((*part.keys, name), args)
        if setting is not None:
            owner = f"{part.thing.__module__}.{part.thing.__qualname__}"
            lines.append(f"{setting.dotted} ({setting.place}) is never read by {owner} ({place_of(part.thing)})")
    return lines
