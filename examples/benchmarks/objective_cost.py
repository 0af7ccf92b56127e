"""What the objective, the reduction and the metrics cost of an RL step of the demo, and the step against one with a bare loss.

    python examples/benchmarks/objective_cost.py --threads 1 --rounds 9

An RL step is one iteration as `lit-rlvr rl fit -c configs/quickstart/rl.yaml` runs it: generate, judge, score with the policy, two
optimizer steps of two micro-batches, log to CSV and TensorBoard. The training phase is what follows the first micro-batch. The
model is the demo's after its supervised start (made and trained here, a minute, unless `--model` names a folder).

Every part is timed inside these steps, where it runs: a table for each objective has its milliseconds, and its share of the RL step
and of the training phase. The `backward` part is from the start of the backward pass to the gradient of the objective's log-probs.

The alternative is the same RL step with the loss `-(advantages * logprobs * loss_weights).sum()`: no objective, ledger, entropy,
statistics, gradient norm of ours or logging. In a round each of them takes one step, in turns, from the same weights on the same
prompts with the same seeds, hence on the same rollouts. Figures are medians of rounds, ratios medians of the ratio within a round.
"""

import argparse
import logging
import os
import tempfile
import time
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from statistics import median
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from measured_step import OBJECTIVES, MeasuredModule, StepCost, watched
from stopwatch import Stopwatch

from lit_rlvr.cli import main as lit_rlvr
from lit_rlvr.data import IterationConfig, PromptFormat, RolloutDataModule
from lit_rlvr.modules.loading import PolicyConfig
from lit_rlvr.rewards import ExactAnswer
from lit_rlvr.rollout.engine import SamplingParams
from lit_rlvr.rollout.filters import ZeroAdvantageFilter
from lit_rlvr.tasks import AdditionPrompts
