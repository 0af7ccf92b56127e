"""The picture of all objectives: python examples/objective_figures.py [PNG]."""

import sys
from inspect import isabstract, isclass
from pathlib import Path

from lit_rlvr import objectives
from lit_rlvr.objectives import PolicyObjective
from lit_rlvr.report.objective_card import Measurement, draw_gallery, measure

FIRST = ("GRPO", "GPPO", "CISPO", "ASPO", "Archer", "GSPO", "PositiveMeanIS", "NoImportanceSampling", "REINFORCE")
"""The order of the panels; an objective that is not named here comes last."""
LABELS = {"GRPO": "GRPO, DAPO"}
PATH = Path(__file__).parent / "figures" / "objectives.png"


def measurements() -> list[Measurement]:
    """Measure every objective of the package with its default settings."""
    things = {name: getattr(objectives, name) for name in objectives.__all__}
    classes = {
        name: thing
        for name, thing in things.items()
        if isclass(thing) and issubclass(thing, PolicyObjective) and not isabstract(thing)
    }
    order = sorted(classes, key=lambda name: (FIRST.index(name) if name in FIRST else len(FIRST), name))
    return [measure(LABELS.get(name, name), classes[name]()) for name in order]


if __name__ == "__main__":
    print(draw_gallery(measurements(), Path(sys.argv[1]) if len(sys.argv) > 1 else PATH))
