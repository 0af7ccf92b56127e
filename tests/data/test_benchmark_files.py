import pytest

from lit_rlvr.data.files import PromptFile
from lit_rlvr.data.mapping import PromptFields


@pytest.mark.parametrize("name", ["gsm8k_test.jsonl", "gsm8k_train_2k.jsonl"])
def test_gsm8k_answers_are_numbers(real_data, name: str) -> None:
    fields = PromptFields(answer_pattern="#### (.+)$", strip_commas=True)
    prompts = PromptFile(str(real_data(name)), fields).load()
    assert len(prompts) in (1319, 2000)
    assert all(prompt.answer.lstrip("-").replace(".", "", 1).isdigit() for prompt in prompts)
    assert {prompt.source for prompt in prompts} == {name.removesuffix(".jsonl")}


@pytest.mark.parametrize(
    ("name", "fields", "count"),
    [
        ("aime24.jsonl", PromptFields("messages", "meta.answer", "meta.unique_id"), 30),
        ("aime25.jsonl", PromptFields("messages", "meta.solution", "meta.unique_id"), 30),
        ("hmmt25.jsonl", PromptFields("messages", "answer", "id"), 30),
        ("amc23.jsonl", PromptFields("problem", "answer", "id"), 40),
        ("minerva_math.jsonl", PromptFields("problem", "solution", "idx", answer_pattern=r"\\boxed\{(.*)\}"), 272),
        ("olympiadbench.jsonl", PromptFields("question", "final_answer.0", "id"), 675),
    ],
)
def test_benchmark_files_load_with_a_mapping_only(real_data, name: str, fields: PromptFields, count: int) -> None:
    prompts = PromptFile(str(real_data(name)), fields).load()
    assert len(prompts) == count
    assert all(prompt.answer for prompt in prompts)
