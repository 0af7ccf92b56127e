"""Which checks there are, in the order of their lines."""

from lit_rlvr.doctor.caches import CachesReset
from lit_rlvr.doctor.chat_template import ChatTemplate
from lit_rlvr.doctor.check import Check
from lit_rlvr.doctor.group_members import GroupMembersDiffer
from lit_rlvr.doctor.lengths import Lengths
from lit_rlvr.doctor.logprob_gap import LogprobGap
from lit_rlvr.doctor.loss_mask import LossMask
from lit_rlvr.doctor.memory import Memory
from lit_rlvr.doctor.settings import Settings
from lit_rlvr.doctor.setup import Setup
from lit_rlvr.doctor.verifiers import Verifiers
from lit_rlvr.doctor.vocabulary import Vocabulary
from lit_rlvr.doctor.weights import WeightsArrive

CHECKS: tuple[type[Check], ...] = (
    Setup,
    Settings,
    ChatTemplate,
    Vocabulary,
    Lengths,
    Verifiers,
    GroupMembersDiffer,
    LossMask,
    LogprobGap,
    WeightsArrive,
    CachesReset,
    Memory,
)
