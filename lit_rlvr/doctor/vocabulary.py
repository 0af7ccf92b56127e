"""Whether tokenizer and model speak of the same tokens."""

from lit_rlvr.doctor.check import Check
from lit_rlvr.doctor.finding import Finding, green, red, yellow
from lit_rlvr.doctor.patient import Patient

MANY_ROWS = 0.1
"""Share of the model's rows that are no token, above which it is probably the tokenizer of another model."""


class Vocabulary(Check):
    """Compares the tokenizer's ids, those in the prompts, and the stop tokens with the rows of the model's embedding."""

    name = "vocabulary"

    def run(self, patient: Patient) -> Finding:
        """Compare the sizes, and what is really used."""
        tokenizer, rows = patient.tokenizer, int(patient.model_config.vocab_size)
        highest = max(tokenizer.get_vocab().values())
        stops = patient.data.collector.stop_token_ids
        mend = "take the tokenizer of the very model, or resize the model's embeddings to it"
        beyond = [stop for stop in stops if not 0 <= stop < rows]
        if beyond:
            names = ", ".join(f"{tokenizer.convert_ids_to_tokens(stop)!r} ({stop})" for stop in beyond)
            return red(f"the stop token {names} is beyond the model's {rows} rows: it can never be sampled", mend=mend)
        if highest >= rows:
            name = tokenizer.convert_ids_to_tokens(highest)
            return red(f"the tokenizer's ids go up to {highest} ({name!r}), but the model has {rows} rows", mend=mend)
        unused = rows - 1 - highest
        sizes = f"tokenizer {highest + 1} ids, model {rows} rows"
        if unused > MANY_ROWS * rows:
            return yellow(f"{sizes}: {unused} rows are no token of this tokenizer", mend=mend)
        padding = f" ({unused} of padding, which no text can reach)" if unused else ""
        return green(f"{sizes}{padding}; stop tokens {', '.join(_named(patient, stop) for stop in stops)}")


def _named(patient: Patient, token: int) -> str:
    return f"{token} {patient.tokenizer.convert_ids_to_tokens(token)!r}"
