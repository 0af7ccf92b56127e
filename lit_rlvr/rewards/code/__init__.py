"""Rewards for programs: finding the program, reading the tests, running them in a sandbox, comparing outside of it."""

from lit_rlvr.rewards.code.assert_scripts import AssertScripts
from lit_rlvr.rewards.code.cases import AssertTest, CallTest, CodeTest, StdioTest
from lit_rlvr.rewards.code.comparison import same_output
from lit_rlvr.rewards.code.extraction import Program, extract_program
from lit_rlvr.rewards.code.input_output import InputsOutputs, ListedTests
from lit_rlvr.rewards.code.livecodebench import LiveCodeBench
from lit_rlvr.rewards.code.reading import known_formats, read_tests
from lit_rlvr.rewards.code.reward import CodeReward
from lit_rlvr.rewards.code.row import ProblemRow, RowFormat
from lit_rlvr.rewards.code.values import same_value

__all__ = [
    "AssertScripts",
    "AssertTest",
    "CallTest",
    "CodeReward",
    "CodeTest",
    "InputsOutputs",
    "ListedTests",
    "LiveCodeBench",
    "ProblemRow",
    "Program",
    "RowFormat",
    "StdioTest",
    "extract_program",
    "known_formats",
    "read_tests",
    "same_output",
    "same_value",
]
