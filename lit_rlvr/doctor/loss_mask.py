"""Which tokens the loss is computed on, shown on a completion of the policy."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

from rich.text import Text

from lit_rlvr.callbacks.token_pieces import token_pieces
from lit_rlvr.data.collate import collate_rollouts
from lit_rlvr.doctor.check import Check
from lit_rlvr.doctor.finding import Finding, green, red
from lit_rlvr.doctor.patient import Patient
from lit_rlvr.doctor.verifiers import Verifiers
from lit_rlvr.doctor.vocabulary import Vocabulary
from lit_rlvr.types import Rollout, RolloutBatch

SHOWN = 160
"""Tokens shown at most of the prompt's end, and of the completion's beginning."""
COLORS = {"prompt": "dim", "loss": "bold green", "stop": "bold reverse green", "unused": "dim"}
MARKS = ("⟦", "⟧")
"""Around the tokens in the loss, for where there is no colour."""


class LossMask(Check):
    """Shows a prompt and a completion as the loss sees them, and holds the mask of every row against what was generated."""

    name = "loss mask"
    needs = (Vocabulary, Verifiers)

    def run(self, patient: Patient) -> Finding:
        """Compare all rows, and show the first that ended by itself."""
        rollouts = [rollout for group in patient.groups for rollout in group.rollouts]
        batch, stops = _rows(patient, rollouts), patient.data.collector.stop_token_ids
        for row, rollout in enumerate(rollouts):
            in_loss = tuple(batch.input_ids[row][batch.loss_mask[row]].tolist())
            generated = rollout.completion.token_ids
            if in_loss != generated:
                return red(
                    f"prompt {rollout.prompt.id!r}: the loss is on {len(in_loss)} tokens, not on the {len(generated)} generated",
                    mend="the loss mask of a RolloutBatch is True on the completion's tokens, the stop token included",
                )
            if (generated[-1] in stops) != (rollout.completion.finish_reason == "stop"):
                return red(
                    f"prompt {rollout.prompt.id!r}: finish_reason is {rollout.completion.finish_reason!r}, the last token "
                    f"{generated[-1]} ({patient.tokenizer.convert_ids_to_tokens(generated[-1])!r})",
                    mend="the engine must keep the stop token in token_ids, and call only what it cut itself 'length'",
                )
        ended = [row for row, rollout in enumerate(rollouts) if not rollout.completion.is_truncated]
        chosen = ended[0] if ended else 0
        shown = _shown(patient, rollouts[chosen].prompt.token_ids, rollouts[chosen].completion.token_ids)
        limit = patient.sampling.max_tokens
        return green(
            f"the loss is on the generated tokens; {len(ended)} of {len(rollouts)} completions ended by themselves within {limit}",
            shown,
        )


def _rows(patient: Patient, rollouts: Sequence[Rollout]) -> RolloutBatch:
    """Return the rows of a batch. Whether their log-probs can be trained on is the question of another line."""
    semantics = patient.sampling.semantics
    plain = [replace(rollout, completion=replace(rollout.completion, semantics=semantics)) for rollout in rollouts]
    return collate_rollouts(plain, patient.data.sampling.temperature)


def _shown(patient: Patient, prompt: tuple[int, ...], completion: tuple[int, ...]) -> Text:
    """Return prompt and completion, the tokens of the loss in colour and between marks."""
    stops = patient.data.collector.stop_token_ids
    pieces = token_pieces(patient.tokenizer, [*prompt, *completion])
    kinds = ["prompt"] * len(prompt) + ["stop" if token in stops else "loss" for token in completion]
    tokens = list(zip(pieces, kinds, strict=True))
    first, last = max(len(prompt) - SHOWN, 0), len(prompt) + SHOWN
    text = Text("… " if first else "")
    for is_loss, run in groupby(tokens[first:last], lambda token: token[1] != "prompt"):
        text.append(MARKS[0] if is_loss else "")
        for piece, kind in run:
            text.append(piece.replace("\n", "⏎"), style=COLORS[kind])
        text.append(MARKS[1] if is_loss and last >= len(tokens) else "")
    return text.append(" …") if last < len(tokens) else text
