"""The entry point: one table of verbs, each imported only when it is called."""

import os
import sys
from collections.abc import Sequence

from lit_rlvr.cli.suggestion import did_you_mean
from lit_rlvr.cli.verbs import USAGE_ERROR, Verb, lines_of_help

VERBS: dict[str, Verb] = {
    "sft": Verb("supervised fine-tuning: fit, validate or test", "lit_rlvr.cli.train:sft"),
    "rl": Verb("reinforcement learning with verifiable rewards: fit, validate or test", "lit_rlvr.cli.train:rl"),
    "doctor": Verb("check a configuration, its model, data and engine before a long run", "lit_rlvr.cli.doctor:doctor"),
    "make-model": Verb("write a tiny untrained model and its tokenizer to a directory", "lit_rlvr.cli.model_files:make_model"),
    "export": Verb("write a checkpoint as a Hugging Face model directory", "lit_rlvr.cli.model_files:export"),
    "objective": Verb(
        "what objectives do to tokens: their gradient weights (show), the contract (check), recorded rollouts (lens)",
        "lit_rlvr.cli.objective:objective",
    ),
    "sandbox": Verb(
        "where untrusted programs run: what this machine offers (check), serve it (serve)", "lit_rlvr.cli.sandbox:sandbox"
    ),
}


def main(args: Sequence[str] | None = None) -> int:
    """Run `lit-rlvr VERB ...` and return the exit code: 0, or 2 for a mistake in the call or its configuration.

    Args:
        args: what follows `lit-rlvr`; `sys.argv[1:]` when None.
    """
    args = list(sys.argv[1:] if args is None else args)
    if not args or args[0] in ("-h", "--help"):
        print(_usage())
        return 0
    if args[0] not in VERBS:
        print(f"error: unknown verb '{args[0]}'.{did_you_mean(args[0], VERBS)}\n\n{_usage()}", file=sys.stderr)
        return USAGE_ERROR
    _make_working_directory_importable()
    try:
        VERBS[args[0]].load()(args[1:])
    except SystemExit as stop:
        return _exit_code(stop)
    return 0


def _usage() -> str:
    explained = "lit-rlvr VERB --help explains a verb."
    return "\n".join(["usage: lit-rlvr VERB [options]", "", *lines_of_help(VERBS), "", explained])


def _make_working_directory_importable() -> None:
    """Console scripts do not see the working directory, where a user's own classes usually live."""
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())


def _exit_code(stop: SystemExit) -> int:
    if stop.code is None:
        return 0
    if isinstance(stop.code, int):
        return stop.code
    print(stop.code, file=sys.stderr)
    return 1
