"""Procedural tasks, and the tiny model that learns them."""

from lit_rlvr.tasks.addition import Addition, AdditionConversations, AdditionPrompts
from lit_rlvr.tasks.base import Problem, ProceduralTask, Split, split_of
from lit_rlvr.tasks.programs import ProgramConversations, ProgramPrompts, Programs
from lit_rlvr.tasks.tiny_model import TinyModelConfig, build_tiny_model, make_model
from lit_rlvr.tasks.tiny_tokenizer import byte_tokenizer, character_tokenizer

__all__ = [
    "Addition",
    "AdditionConversations",
    "AdditionPrompts",
    "Problem",
    "ProceduralTask",
    "ProgramConversations",
    "ProgramPrompts",
    "Programs",
    "Split",
    "TinyModelConfig",
    "build_tiny_model",
    "byte_tokenizer",
    "character_tokenizer",
    "make_model",
    "split_of",
]
