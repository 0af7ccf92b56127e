"""Whether the chat template opens the policy's turn, and whether completions know how to end."""

from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import TemplateError

from lit_rlvr.doctor.check import Check
from lit_rlvr.doctor.finding import Finding, green, red, yellow
from lit_rlvr.doctor.patient import Patient
from lit_rlvr.types import Prompt

LOOKED_AT = 100
"""Training prompts whose tokens are looked at."""
ANSWER = "1"
"""What the assistant says in a rendered turn; nearly every tokenizer can write it."""


class ChatTemplate(Check):
    """Renders training prompts as in training: no unknown tokens, one beginning, a generation prompt, and a turn that ends in a stop."""

    name = "chat template"

    def run(self, patient: Patient) -> Finding:
        """Look at the prompts, then at how a turn begins and ends."""
        prompts = patient.first_prompts(LOOKED_AT)
        return (
            _unknown(patient, prompts) or _doubled(patient, prompts) or _lossy(patient, prompts) or _turn(patient, prompts[0])
        )


def _unknown(patient: Patient, prompts: Sequence[Prompt]) -> Finding | None:
    unknown = patient.tokenizer.unk_token_id
    bad = [prompt for prompt in prompts if unknown is not None and unknown in prompt.token_ids]
    if not bad:
        return None
    text = patient.tokenizer.decode(list(bad[0].token_ids))
    return red(
        f"{len(bad)} of {len(prompts)} prompts have tokens that the tokenizer does not know ({patient.tokenizer.unk_token!r})",
        f"prompt {bad[0].id!r}: {text[:200]!r}",
        mend="take a tokenizer that can write the problems: what it does not know the policy cannot read",
    )


def _doubled(patient: Patient, prompts: Sequence[Prompt]) -> Finding | None:
    beginning = patient.tokenizer.bos_token_id
    if beginning is None or prompts[0].token_ids[:2] != (beginning, beginning):
        return None
    return red(
        f"prompts begin with {patient.tokenizer.bos_token!r} twice",
        mend="remove it from the chat template, or from the tokenizer's own beginning",
    )


def _lossy(patient: Patient, prompts: Sequence[Prompt]) -> Finding | None:
    """Compare the text of the template with that of its tokens: what the policy reads is the tokens."""
    for prompt in prompts:
        text = _template(patient, prompt.messages, tokenize=False, add_generation_prompt=True)
        read = str(patient.tokenizer.decode(list(prompt.token_ids), clean_up_tokenization_spaces=False))
        if "".join(text.split()) != "".join(read.split()):
            return red(
                f"prompt {prompt.id!r} is another text after the tokenizer",
                f"rendered: {text[-200:]!r}",
                f"its tokens: {read[-200:]!r}",
                mend="take a tokenizer that keeps the characters of the problems",
            )
    return None


def _turn(patient: Patient, prompt: Prompt) -> Finding:
    tokenizer, tokens = patient.tokenizer, prompt.token_ids
    closed = _rendered(patient, prompt.messages)
    if tokens == closed:
        return red(
            "the chat template ignores add_generation_prompt: the policy would go on with the user's turn",
            mend="let the template end with the beginning of the assistant's turn when add_generation_prompt is true",
        )
    begins = tokenizer.decode(list(tokens[_common(tokens, closed) :]))
    opening = f"the policy's turn begins with {begins!r}"
    answered = _rendered(patient, (*prompt.messages, {"role": "assistant", "content": ANSWER}))
    ending = answered[_common(answered, tokens) :]
    known = patient.data.collector.stop_token_ids
    stops = [token for token in ending if token in known]
    if stops:
        return green(f"{opening} and ends with {tokenizer.convert_ids_to_tokens(stops[0])!r}, a stop token")
    names = ", ".join(repr(tokenizer.convert_ids_to_tokens(stop)) for stop in known)
    special = [token for token in ending if token in tokenizer.all_special_ids]
    if special:
        return red(
            f"an assistant's turn ends with {tokenizer.convert_ids_to_tokens(special[0])!r}, which is no stop token ({names})",
            mend="add it to eos_token_id in the model's generation_config.json, or make it the tokenizer's eos_token",
        )
    last = tokenizer.decode(list(ending))[-20:]
    return yellow(f"{opening}; no telling how it ends: the template closes it with {last!r}, the stop tokens are {names}")


def _rendered(patient: Patient, messages: Sequence[Mapping[str, str]]) -> tuple[int, ...]:
    """Return the tokens of finished turns; none when the template cannot render them."""
    try:
        return tuple(_template(patient, messages, tokenize=True, add_generation_prompt=False, return_dict=False))
    except TemplateError:
        return ()


def _template(patient: Patient, messages: Sequence[Mapping[str, str]], **settings: Any) -> Any:
    conversation = [dict(message) for message in messages]
    return patient.tokenizer.apply_chat_template(conversation, **settings, **patient.data.format.template_kwargs)


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    """Return the length of the common beginning."""
    return next((i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second)))
