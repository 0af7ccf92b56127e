"""Whether prompt and completion fit into what model and engine can take."""

from lit_rlvr.doctor.check import Check
from lit_rlvr.doctor.finding import Finding, green, red
from lit_rlvr.doctor.patient import Patient


class Lengths(Check):
    """Adds the longest prompt and the longest completion, and compares with the positions there are."""

    name = "lengths"

    def run(self, patient: Patient) -> Finding:
        """Look at training and at evaluation."""
        data, limit = patient.data, patient.max_positions
        samplings = {"data.sampling": data.sampling}
        if data.evaluation.sampling is not None:
            samplings["data.evaluation.sampling"] = data.evaluation.sampling
        prompts = [prompt for stage in data.prompts.values() for prompt in stage]
        longest = max(prompts, key=lambda prompt: len(prompt.token_ids))
        length = len(longest.token_ids)
        for key, sampling in samplings.items():
            if limit is not None and length + sampling.max_tokens > limit:
                return red(
                    f"prompt {longest.id!r} ({length} tokens) and {key}.max_tokens={sampling.max_tokens} are more than the "
                    f"{limit} positions that model and engine have",
                    mend=f"set {key}.max_tokens to at most {limit - length}{_or_shorter_prompts(limit - sampling.max_tokens)}",
                )
        most = max(sampling.max_tokens for sampling in samplings.values())
        positions = "no limit" if limit is None else f"{limit} positions"
        return green(
            f"longest prompt {length} tokens (allowed: {data.format.max_prompt_tokens}) + completion {most}: {length + most} of {positions}"
        )


def _or_shorter_prompts(room: int) -> str:
    return f", or data.format.max_prompt_tokens to at most {room} (with drop_long_prompts)" if room > 0 else ""
