"""Policy objectives: per-token statistics in, per-token loss out, one small file each."""

from lit_rlvr.objectives.archer import Archer
from lit_rlvr.objectives.aspo import ASPO
from lit_rlvr.objectives.base import ObjectiveInputs, PolicyObjective
from lit_rlvr.objectives.cispo import CISPO
from lit_rlvr.objectives.entropy_classes import HighEntropyRange
from lit_rlvr.objectives.gppo import GPPO
from lit_rlvr.objectives.grpo import GRPO
from lit_rlvr.objectives.gspo import GSPO
from lit_rlvr.objectives.no_is import NoImportanceSampling
from lit_rlvr.objectives.positive_mean_is import PositiveMeanIS
from lit_rlvr.objectives.reinforce import REINFORCE

__all__ = [
    "ASPO",
    "CISPO",
    "GPPO",
    "GRPO",
    "GSPO",
    "REINFORCE",
    "Archer",
    "HighEntropyRange",
    "NoImportanceSampling",
    "ObjectiveInputs",
    "PolicyObjective",
    "PositiveMeanIS",
]
