"""The side of experience: where problems come from, and the DataModules that turn them into batches."""

from lit_rlvr.data.asynchronous import AsyncConfig
from lit_rlvr.data.files import ConversationFile, PromptFile
from lit_rlvr.data.hub import ConversationHub, PromptHub
from lit_rlvr.data.mapping import ConversationFields, PromptFields
from lit_rlvr.data.rollout_datamodule import RolloutDataModule
from lit_rlvr.data.settings import ChatFormat, EvaluationConfig, IterationConfig, PromptFormat
from lit_rlvr.data.sft_datamodule import SFTDataModule
from lit_rlvr.data.sources import ConversationSource, PromptSource

__all__ = [
    "AsyncConfig",
    "ChatFormat",
    "ConversationFields",
    "ConversationFile",
    "ConversationHub",
    "ConversationSource",
    "EvaluationConfig",
    "IterationConfig",
    "PromptFields",
    "PromptFile",
    "PromptFormat",
    "PromptHub",
    "PromptSource",
    "RolloutDataModule",
    "SFTDataModule",
]
