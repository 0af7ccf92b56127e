"""Generation inside the trainer's process, by the very module that is being trained: no copy of the weights, nothing to synchronise."""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lit_rlvr.rollout.decoding import DecodingRoute, GenericRoute, SlabRoute, causal_lm_of, is_plain_full_attention
from lit_rlvr.rollout.engine import RolloutEngine, SamplingParams
from lit_rlvr.rollout.kv_cache import SLAB_ATTENTION, install_slab_attention
from lit_rlvr.rollout.sampling import draw, random_streams, uniforms
from lit_rlvr.types import Completion, Prompt, RolloutPolicy
