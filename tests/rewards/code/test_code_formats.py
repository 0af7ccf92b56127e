import base64
import json
import pickle
import zlib
from pathlib import Path
from typing import Any

import pytest

from lit_rlvr.data.files import PromptFile
from lit_rlvr.data.mapping import PromptFields
from lit_rlvr.rewards.code import AssertTest, CallTest, CodeTest, RowFormat, StdioTest, read_tests
from lit_rlvr.rewards.code.row import ProblemRow
from lit_rlvr.types import Prompt

SUM = [StdioTest("1 2\n", "3\n"), StdioTest("4 5\n", "9\n")]
PUBLIC = [{"input": "1 2\n", "output": "3\n", "testtype": "stdin"}]
PRIVATE = [{"input": "4 5\n", "output": "9\n", "testtype": "stdin"}]
FUNCTIONAL = [{"input": "[1, 2]\n3", "output": "6", "testtype": "functional"}]


def prompt(answer: Any = "", **metadata: Any) -> Prompt:
    return Prompt("p7", (), answer if isinstance(answer, str) else json.dumps(answer), metadata=metadata)


def packed(value: object) -> str:
    return base64.b64encode(zlib.compress(pickle.dumps(value))).decode()


@pytest.mark.parametrize(
    ("row", "tests"),
    [
        (prompt({"inputs": ["1 2\n", "4 5\n"], "outputs": ["3\n", "9\n"], "timeout": 4, "max_test_cases": 5}), SUM),
        (prompt(inputs=["1 2\n", "4 5\n"], outputs=["3\n", "9\n"]), SUM),
        (prompt(input_output=json.dumps({"inputs": ["1 2\n", "4 5\n"], "outputs": ["3\n", "9\n"], "fn_name": None})), SUM),
        (prompt({"inputs": [["1", "2"]], "outputs": [["3", "4"]]}), [StdioTest("1\n2", "3\n4")]),
        (
            prompt({"inputs": [[[1, 2], 3], [[], 0]], "outputs": [6, 0], "fn_name": "total"}),
            [CallTest("total", "[[1, 2], 3]", "6"), CallTest("total", "[[], 0]", "0")],
        ),
        (
            prompt({"inputs": [["a"], ["b"]], "outputs": [["A"], ["B"]], "fn_name": "upper"}),
            [CallTest("upper", '["a"]', '["A"]', '"A"'), CallTest("upper", '["b"]', '["B"]', '"B"')],
        ),
        (prompt({"inputs": ["[1, 2]\n3\n"], "outputs": ["6"], "fn_name": "f"}), [CallTest("f", "[[1, 2], 3]", "6")]),
        (prompt({"inputs": [""], "outputs": ["6"], "fn_name": "f"}), [CallTest("f", "[]", "6")]),
        (prompt([{"input": "1 2\n", "output": "3\n"}, {"input": "4 5\n", "output": "9\n", "type": "stdin_stdout"}]), SUM),
        (prompt(tests=json.dumps([{"input": "1 2\n", "output": "3\n"}, {"input": "4 5\n", "output": "9\n"}])), SUM),
        (prompt({"tests": [{"input": "1 2\n", "output": "3\n"}, {"input": "4 5\n", "output": "9\n"}]}), SUM),
        (prompt(tests={"inputs": ["1 2\n", "4 5\n"], "outputs": ["3\n", "9\n"]}), SUM),
        (
            prompt([{"type": "function_call", "fn_name": "add", "input": [1, 2], "output": 3}]),
            [CallTest("add", "[1, 2]", "3")],
        ),
        (
            prompt([{"testtype": "functional", "metadata": {"func_name": "add"}, "input": "1\n2", "output": "3"}]),
            [CallTest("add", "[1, 2]", "3")],
        ),
        (prompt("1873_A", public_test_cases=json.dumps(PUBLIC), private_test_cases=json.dumps(PRIVATE)), SUM),
        (prompt(public_test_cases=PUBLIC, private_test_cases=packed(json.dumps(PRIVATE))), SUM),
        (
            prompt(
                "x", public_test_cases="[]", private_test_cases=packed(json.dumps(FUNCTIONAL)), metadata='{"func_name": "f"}'
            ),
            [CallTest("f", "[[1, 2], 3]", "6")],
        ),
        (prompt({"functional": "assert f(2) == 4\nassert f(3) == 9"}), [CallTest("f", "[2]", "4"), CallTest("f", "[3]", "9")]),
        (
            prompt({"functional": ["assert f(2) == 4", "assert f(3) == 9"]}),
            [CallTest("f", "[2]", "4"), CallTest("f", "[3]", "9")],
        ),
        (prompt({"pytest": "from solution import f\ndef test_f():\n    assert f(2) == 4\n"}), [CallTest("f", "[2]", "4")]),
        (prompt("assert f(2) == 4"), [CallTest("f", "[2]", "4")]),
        (prompt("x", test="def test_f():\n    assert f(2) == 4\n"), [CallTest("f", "[2]", "4")]),
        (
            prompt("x", test="def check(candidate):\n    assert candidate(2) == 4\n", entry_point="square"),
            [CallTest("square", "[2]", "4")],
        ),
        (
            prompt(
                "x",
                test_list=["assert f(2) == 4", "assert abs(f(1) - 1) < 1"],
                test_imports=["import math"],
                test_setup_code="",
            ),
            [CallTest("f", "[2]", "4"), AssertTest("import math\nassert abs(f(1) - 1) < 1\n")],
        ),
    ],
)
def test_each_format_is_read(row: Prompt, tests: list[CodeTest]) -> None:
    assert read_tests(row) == tests


def test_the_field_is_a_setting() -> None:
    row = prompt("42", cases=json.dumps({"inputs": ["1 2\n", "4 5\n"], "outputs": ["3\n", "9\n"]}), script="assert f(2) == 4")
    assert read_tests(row, "cases") == SUM
    assert read_tests(row, "script") == [CallTest("f", "[2]", "4")]
    with pytest.raises(ValueError, match=r"prompt 'p7': no column 'tests' .*its metadata is \['cases', 'script'\]"):
        read_tests(row, "tests")


def test_rows_of_a_file_arrive_through_the_source(tmp_path: Path) -> None:
    truth = json.dumps({"inputs": ["1 2\n", "4 5\n"], "outputs": ["3\n", "9\n"]})
    klear = {"prompt": [{"role": "user", "content": "Add."}], "reward_model": {"ground_truth": truth, "style": "rule"}}
    (tmp_path / "klear.jsonl").write_text(json.dumps(klear) + "\n")
    fields = PromptFields(prompt="prompt", answer="reward_model.ground_truth")
    assert read_tests(PromptFile(str(tmp_path / "klear.jsonl"), fields).load()[0]) == SUM

    lcb = {"question_content": "Add.", "question_id": "1873_A", "metadata": "{}", "starter_code": ""}
    lcb |= {"public_test_cases": json.dumps(PUBLIC), "private_test_cases": packed(json.dumps(PRIVATE))}
    (tmp_path / "lcb.jsonl").write_text(json.dumps(lcb) + "\n")
    columns = ("public_test_cases", "private_test_cases", "metadata")
    fields = PromptFields(prompt="question_content", answer="question_id", metadata=columns)
    assert read_tests(PromptFile(str(tmp_path / "lcb.jsonl"), fields).load()[0]) == SUM


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (prompt({"inputs": ["1"], "outputs": ["1", "2"]}), "field 'outputs': 2 outputs for 1 inputs; give one output for each"),
        (prompt({"inputs": [], "outputs": []}), "field 'inputs': there are no tests; leave the prompt out"),
        (prompt({"inputs": ["1"]}), "field 'outputs': must be a list, found missing"),
        (
            prompt({"inputs": "1", "outputs": ["1"]}),
            "field 'inputs': '1' is not a list|field 'inputs': must be a list, found int",
        ),
        (
            prompt({"inputs": ["1"], "outputs": [1]}),
            r"field 'inputs.0': input and output must be text, found int '1'; .*fn_name",
        ),
        (prompt({"inputs": ["x y"], "outputs": ["1"], "fn_name": "f"}), r"field 'inputs.0': .*write arguments"),
        (
            prompt({"inputs": [5], "outputs": [1], "fn_name": "f"}),
            "field 'inputs.0': arguments '5' must be a JSON list or object",
        ),
        (prompt({"inputs": [[1]], "outputs": [1], "fn_name": "os.system('x')"}), "field 'inputs.0': function .* is not a name"),
        (
            prompt({"inputs_file": "in.txt", "outputs_file": "out.txt"}),
            "field 'inputs_file': the tests are in a file of their own",
        ),
        (prompt([{"in": "1"}]), r"field 'tests.0': .* has no `input` and `output`"),
        (prompt([]), "field 'tests': there are no tests"),
        (prompt([{"input": "1", "output": "1", "type": "interactive"}]), "field 'tests.0': unknown kind of test 'interactive'"),
        (prompt([{"input": "1", "output": "1", "type": "functional"}]), "field 'tests.0': no name of the function to call"),
        (prompt("x", public_test_cases="[]", private_test_cases=""), "field 'public_test_cases': there are no tests"),
        (prompt("x", public_test_cases='{"a": '), "field 'public_test_cases': neither JSON nor base64 of zlib"),
        (prompt("x", public_test_cases='[{"a": '), "field 'public_test_cases': .* is not JSON"),
        (prompt("x", private_test_cases=packed(json.dumps(PRIVATE))[:-12]), "field 'private_test_cases': .*"),
        (
            prompt("x", private_test_cases=packed(PRIVATE)),
            "field 'private_test_cases': the pickle holds more than one plain string",
        ),
        (prompt("x", private_test_cases=packed("{}")), "field 'private_test_cases': must hold a list of tests, found dict"),
        (prompt("x", public_test_cases=FUNCTIONAL), r"field 'public_test_cases.0': no name of the function"),
        (prompt("x", public_test_cases=PUBLIC, metadata="[]"), "field 'metadata': must be a JSON object"),
        (prompt({"functional": "assert ("}), "field 'functional': not Python"),
        (prompt({"functional": ["assert f(1) == 1", 7]}), "field 'functional.1': must be Python, found int"),
        (prompt({"functional": "print(1)"}), "field 'functional': no assertion"),
        (prompt("x", test_list=["assert f(1) == 1", "pass"]), "field 'test_list.1': no assertion"),
        (prompt('{"inputs": ["1"'), "field 'answer': not Python"),
        (prompt("42"), "field 'answer': no assertion, no test function"),
        (prompt("", other=1), r"field 'answer': no tests in the columns \['other'\]; known are the formats InputsOutputs"),
        (prompt({"inputs": ["1"], "outputs": ["1"]}, test_list=["assert f(1) == 1"]), "tests in more than one format"),
    ],
)
def test_malformed_rows_are_refused_with_prompt_field_and_mend(row: Prompt, message: str) -> None:
    with pytest.raises(ValueError, match=rf"(?s)prompt 'p7': (?=.*; ).*(?:{message})") as caught:
        read_tests(row)
    assert len(str(caught.value)) < 500


class Exploit:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return pytest.fail, ("it was unpickled",)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_is_read_but_never_executed(protocol: int) -> None:
    def pack(value: object) -> str:
        return base64.b64encode(zlib.compress(pickle.dumps(value, protocol))).decode()

    long = json.dumps([{**PUBLIC[0], "output": "é" * 100_000}])
    assert read_tests(prompt(private_test_cases=pack(long))) == [StdioTest("1 2\n", "é" * 100_000)]
    for hostile in (Exploit(), [Exploit()], b"x", ["[]", "[]"]):
        with pytest.raises(ValueError, match=r"prompt 'p7': field 'private_test_cases': the pickle holds"):
            read_tests(prompt(private_test_cases=pack(hostile)))


def test_a_packed_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lit_rlvr.rewards.code.packed.MAX_BYTES", 1000)
    with pytest.raises(ValueError, match="it unpacks to more than 1000 bytes"):
        read_tests(prompt(private_test_cases=base64.b64encode(zlib.compress(bytes(2000))).decode()))


class Lines(RowFormat):
    """A format of one's own: `input -> output`, one test a line."""

    def recognizes(self, row: ProblemRow) -> bool:
        return "->" in row.text

    def read(self, row: ProblemRow) -> list[CodeTest]:
        return [StdioTest(*line.split(" -> ")) for line in row.text.splitlines()]


def test_a_format_of_ones_own() -> None:
    assert read_tests(prompt("1 2 -> 3\n4 5 -> 9"), formats=[Lines()]) == [StdioTest("1 2", "3"), StdioTest("4 5", "9")]
