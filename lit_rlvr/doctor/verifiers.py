"""Whether every reward function tells right from wrong, wherever it is called, and comes back."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from lit_rlvr.doctor.check import Check
from lit_rlvr.doctor.finding import Finding, green, red, yellow
from lit_rlvr.doctor.patient import Patient
from lit_rlvr.doctor.time_limit import Outcome, in_another_thread, in_main_thread
from lit_rlvr.rewards import Rubric, SelfTest
from lit_rlvr.types import Completion, Prompt, Rollout

COUNTED = 100
"""Training prompts that are asked whether they have an answer."""
ALLOWED_SHARE = 0.05
"""Of them may have none."""
THREADS: dict[str, Callable[[Callable[[], Rollout], float], Outcome[Rollout]]] = {
    "the main thread": in_main_thread,
    "another thread": in_another_thread,
}


@dataclass(frozen=True)
class Probe:
    """A text with a known outcome for one of the reward functions."""

    function: str
    kind: str
    """`right`, `wrong` or `hanging`."""
    text: str
    limit_s: float


class Verifiers(Check):
    """Judges texts with known outcomes through the rubric, in the main thread and in another one, and counts answers.

    A reward function that has no `self_test` is given an empty text: it must at least come back.
    """

    name = "verifiers"

    def run(self, patient: Patient) -> Finding:
        """Judge the texts for the first prompt that has an answer."""
        rubric, prompts = patient.data.rubric, patient.first_prompts(COUNTED)
        unanswered = [prompt for prompt in prompts if not _has_answer(rubric, prompt)]
        count = f"{len(prompts) - len(unanswered)} of {len(prompts)} training prompts have an answer"
        if len(unanswered) > ALLOWED_SHARE * len(prompts):
            named = ", ".join(repr(prompt.id) for prompt in unanswered[:3])
            mend = "name the right column in data.train (fields.answer), or leave these rows out"
            return red(f"{count}: no completion of the others can be judged", f"without one: {named}", mend=mend)
        prompt = next(prompt for prompt in prompts if prompt not in unanswered)
        tests = {name: function.self_test(prompt) for name, function in rubric.rewards.items()}
        problems, slowest = _problems(patient, prompt, tests)
        if problems:
            mend = "correct the reward function; rewards are judged in threads, where signal.alarm does not work"
            return red(f"{len(problems)} texts with a known outcome went wrong", *problems, mend=mend)
        tried = sum(text is not None for t in tests.values() for text in (t.right, t.wrong, t.hanging))
        kinds = f"{tried} texts with a known outcome judged as they should be, in the main thread and another, within {slowest:.1f} s"
        silent = [name for name, test in tests.items() if test.right is None and test.wrong is None]
        if silent:
            mend = "define RewardFunction.self_test, which returns a right and a wrong completion"
            return yellow(f"{', '.join(silent)}: no text is known to be right or wrong", kinds, count, mend=mend)
        return green(f"{kinds}; {count}")


def _has_answer(rubric: Rubric, prompt: Prompt) -> bool:
    known = [function.self_test(prompt).has_answer for function in rubric.rewards.values()]
    return False not in known and (True in known or bool(prompt.answer.strip() or prompt.metadata))


def _probes(tests: dict[str, SelfTest]) -> Iterator[Probe]:
    for name, test in tests.items():
        texts = {"right": test.right, "wrong": test.wrong, "hanging": test.hanging}
        if not any(texts.values()):
            texts = {"empty": ""}
        yield from (Probe(name, kind, text, test.limit_s) for kind, text in texts.items() if text is not None)


def _problems(patient: Patient, prompt: Prompt, tests: dict[str, SelfTest]) -> tuple[list[str], float]:
    """Return what went wrong, and the seconds of the slowest judgement."""
    rubric, problems, slowest = patient.data.rubric, [], 0.0
    limit_s = max(test.limit_s for test in tests.values())
    scores: dict[tuple[str, str, str], float] = {}
    for probe in _probes(tests):
        completion = _completion(patient, probe.text)
        for place, call in THREADS.items():
            outcome = call(lambda completion=completion: rubric.judge(prompt, completion), max(probe.limit_s, limit_s))  # type: ignore[misc]
            slowest = max(slowest, outcome.seconds)
            problem = _problem(rubric, probe, outcome, scores.get((probe.function, "right", place)))
            if problem:
                problems.append(f"{probe.function}, {probe.kind} text, in {place}: {problem}")
            elif outcome.value is not None:
                scores[probe.function, probe.kind, place] = outcome.value.verdicts[probe.function].score or 0.0
    lost = [f"{name}: {problem}" for name, test in tests.items() if (problem := _loss(patient, test))]
    return problems + lost, slowest


def _problem(rubric: Rubric, probe: Probe, outcome: Outcome[Rollout], right_score: float | None) -> str:
    """Return what is wrong with the outcome of a probe; an empty string if nothing is."""
    if outcome.is_late:
        return f"no verdict within {outcome.seconds:.0f} s"
    if outcome.value is None:
        return f"raised {type(outcome.error).__name__}: {outcome.error}"
    verdict = outcome.value.verdicts[probe.function]
    if verdict.is_error:
        return f"could not be judged: {verdict.detail}"
    detail = f"score {verdict.score:g} ({verdict.detail or 'no detail'}) for {probe.text[:60]!r}"
    decides = probe.function == rubric.accuracy
    if probe.kind == "right" and decides and not outcome.value.is_correct:
        return f"counts as wrong: {detail}"
    if probe.kind in ("wrong", "hanging") and decides and outcome.value.is_correct:
        return f"counts as right: {detail}"
    assert verdict.score is not None
    if probe.kind == "wrong" and right_score is not None and verdict.score >= right_score:
        return f"is not paid less than the right text ({right_score:g}): {detail}"
    return ""


def _loss(patient: Patient, test: SelfTest) -> str:
    """Return what the tokenizer does to a right text, if that is no longer what the policy would have to write."""
    if test.right is None:
        return ""
    tokens = patient.tokenizer.encode(test.right, add_special_tokens=False)
    written = str(patient.tokenizer.decode(tokens, skip_special_tokens=True))
    if "".join(written.split()) == "".join(test.right.split()):
        return ""
    return f"the right text {test.right[:60]!r} is {written[:60]!r} after the tokenizer: the policy could never write it"


def _completion(patient: Patient, text: str) -> Completion:
    tokens = tuple(patient.tokenizer.encode(text, add_special_tokens=False))
    return Completion(tokens, (0.0,) * len(tokens), "stop", text=text)
