"""Reading a problem's tests in whichever format they are."""

from collections.abc import Sequence

from lit_rlvr.rewards.code.assert_scripts import AssertScripts
from lit_rlvr.rewards.code.cases import CodeTest
from lit_rlvr.rewards.code.excerpt import excerpt
from lit_rlvr.rewards.code.input_output import InputsOutputs, ListedTests
from lit_rlvr.rewards.code.livecodebench import LiveCodeBench
from lit_rlvr.rewards.code.row import RowFormat, problem_row
from lit_rlvr.types import Prompt


def known_formats() -> list[RowFormat]:
    """Return the formats that are recognized by default."""
    return [InputsOutputs(), ListedTests(), LiveCodeBench(), AssertScripts()]


def read_tests(prompt: Prompt, field: str = "answer", formats: Sequence[RowFormat] | None = None) -> list[CodeTest]:
    """Return the tests of a prompt.

    Args:
        prompt: has its tests in `field`, as JSON or as a script of assertions, and in its metadata.
        field: `answer`, or a metadata column.
        formats: the formats to try; the known ones by default.

    Raises:
        ValueError: no format or more than one recognizes the prompt, or its tests are malformed; with id, field and mend.
    """
    row = problem_row(prompt, field)
    candidates = known_formats() if formats is None else formats
    found = [one for one in candidates if one.recognizes(row)]
    if len(found) == 1:
        return found[0].read(row)
    names = ", ".join(type(one).__name__ for one in found or candidates)
    if found:
        raise row.error(field, f"tests in more than one format ({names})", "list the columns of one in `fields.metadata`")
    if row.text.strip() and any(isinstance(one, AssertScripts) for one in candidates):
        return AssertScripts().read(row)
    shown = f"{excerpt(row.text)} with the columns {sorted(row.fields)}" if row.text else f"the columns {sorted(row.fields)}"
    raise row.error(field, f"no tests in {shown}", f"known are the formats {names}: map their columns, or write a `RowFormat`")
