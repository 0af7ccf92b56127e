"""Policy objectives: per-token statistics in, per-token loss out, one small file each."""

from lit_rlvr.objectives.aspo import ASPO
from lit_rlvr.objectives.base import ObjectiveInputs, PolicyObjective
from lit_rlvr.objectives.cispo import CISPO
from lit_rlvr.objectives.gppo import GPPO
from lit_rlvr.objectives.grpo import GRPO
from lit_rlvr.objectives.no_is import NoImportanceSampling

__all__ = ["ASPO", "CISPO", "GPPO", "GRPO", "NoImportanceSampling", "ObjectiveInputs", "PolicyObjective"]
