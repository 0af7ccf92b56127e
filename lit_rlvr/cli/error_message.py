"""jsonargparse's nested error reports as one or two lines: the key, its place, the nearest existing name."""

import re
from collections.abc import Callable
from importlib import import_module
from inspect import isclass

from lit_rlvr.cli.config_location import settings_beside_init_args, syntax_error
from lit_rlvr.cli.parse_report import Report, first_unknown
from lit_rlvr.cli.suggestion import did_you_mean

UNKNOWN_KEY = re.compile(
    r"(?:Group '(?P<group>[\w.]+)' does not accept o|Subcommand '\w+' does not accept o|O)ption '(?P<key>[^']+)'"
)
UNKNOWN_FLAG = re.compile(r"unrecognized arguments: --(?P<key>[^\s=]+)")
UNKNOWN_NAME = re.compile(r"Expected a dot import path string: (?P<name>\S+)")
UNKNOWN_ATTRIBUTE = re.compile(r"module '(?P<module>[\w.]+)' has no attribute '(?P<name>\w+)'")
ABSTRACT = re.compile(r"Expected an instantiatable class, but (?P<path>[\w.]+) is abstract")
UNKNOWN_MODULE = re.compile(r"Problem with given class_path '(?P<path>[\w.]+)':\s+No module named '(?P<module>[\w.]+)'")
REQUIRED = re.compile(r"the following arguments are required: (?P<keys>.+)")
MISSING_FILE = re.compile(r"File does not exist: '?(?P<file>[^'\n]+)'?")
SUBCOMMAND = re.compile(
    r"to be one of \{(?P<names>[\w,]+)\}, but|invalid choice: (?P<given>'[^']+') \(choose from (?P<choices>[^)]+)\)"
)
BAD_SYNTAX = re.compile("Problems parsing config")
NO_CLASS = re.compile(r"Not a valid subclass of (?P<base>\w+)")
EXPECTED = re.compile(r"Expected (?!a path)(?:an? )?(?P<type>[^\n]+?)(?:\. Got value: (?P<value>[^\n]*))?$", re.MULTILINE)
GIVEN = re.compile(r"(?:Given|Got) value: (?P<value>[^\n]*)")


def explain(report: Report) -> str:
    """Return what is wrong, where, and the mend; jsonargparse's own words when the mistake is of no known kind."""
    for pattern, explanation in EXPLANATIONS:
        found = pattern.search(report.message)
        if found:
            return explanation(report, found)
    return report.message


def _unknown_key(report: Report, found: re.Match[str]) -> str:
    key = [*(found["group"] or "").split("."), *found["key"].split(".")]
    unknown, known = first_unknown([part for part in key if part], report.parser_of(found[0]))
    place = report.place([*report.keys_above(found.start()), *unknown])
    return f"unknown key {place}.{did_you_mean(unknown[-1], known)}"


def _unknown_flag(report: Report, found: re.Match[str]) -> str:
    # A flag of a class is reported by the parser of that class, without the keys that lead to it.
    key = next((arg[2:].split("=")[0] for arg in report.args if arg.split("=")[0].endswith(found["key"])), found["key"])
    guesses = [first_unknown(found["key"].split("."), failure.parser) for failure in report.failures]
    unknown, known = max(guesses, key=lambda guess: len(guess[0]))
    above = key.removesuffix(found["key"]) + "".join(f"{part}." for part in unknown[:-1])
    return f"unknown flag --{key}.{did_you_mean(unknown[-1], [f'--{above}{name}' for name in known])}"


def _unknown_name(report: Report, found: re.Match[str]) -> str:
    place = report.place(report.keys_above(found.start()), found["name"])
    hint = did_you_mean(found["name"], report.classes_accepted(found.start()))
    return f"unknown class '{found['name']}' for {place}.{hint or ' Give its import path: package.module.Class.'}"


def _unknown_attribute(report: Report, found: re.Match[str]) -> str:
    module = found["module"]
    classes = [f"{module}.{name}" for name, thing in vars(import_module(module)).items() if isclass(thing)]
    place = report.place(report.keys_above(found.start()), f"{module}.{found['name']}")
    hint = did_you_mean(found["name"], [*classes, *report.classes_accepted(found.start())])
    return f"unknown class '{module}.{found['name']}' for {place}.{hint}"


def _unknown_module(report: Report, found: re.Match[str]) -> str:
    place = report.place(report.keys_above(found.start()), found["path"])
    mend = "Modules are looked for in the environment and in the directory where lit-rlvr was started."
    return f"cannot import '{found['path']}' for {place}: there is no module '{found['module']}'. {mend}"


def _abstract(report: Report, found: re.Match[str]) -> str:
    place = report.place(report.keys_above(found.start()))
    classes = ", ".join(report.classes_accepted(found.start()))
    return f"{place} needs a class before its settings: {found['path']} is only the interface. Known: {classes}."


def _required(report: Report, found: re.Match[str]) -> str:
    above = report.keys_above(found.start())
    keys = [".".join([*above, key.strip()]) for key in found["keys"].split(",")]
    return f"missing, but required: {', '.join(keys)}. Give it in a configuration file or as a flag."


def _missing_file(report: Report, found: re.Match[str]) -> str:
    return f"configuration file not found: {found['file']}"


def _subcommand(report: Report, found: re.Match[str]) -> str:
    names = (found["names"] or found["choices"].replace("'", "").replace(" ", "")).split(",")
    return f"expected one of {', '.join(names)}{', got ' + found['given'] if found['given'] else ' first'}."


def _bad_syntax(report: Report, found: re.Match[str]) -> str:
    return syntax_error(report.args) or report.message


def _no_class(report: Report, found: re.Match[str]) -> str:
    keys = report.keys_above(found.start())
    place, stray = report.place(keys), settings_beside_init_args(keys, report.args)
    if stray:
        return f"misplaced key '{stray[0].dotted}' ({stray[0].place}): beside `class_path`, settings stand below `init_args`."
    return f"{place} describes no {found['base']}: give a class path, or `class_path` and `init_args` with its settings."


def _wrong_type(report: Report, found: re.Match[str]) -> str:
    alternatives = [
        re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", m["type"]) for m in EXPECTED.finditer(report.message, found.start())
    ]
    alternatives = [re.sub(r"typing\.Literal\[(.*)\]", r"one of \1", name) for name in alternatives]
    types = [name for name in dict.fromkeys(alternatives) if name != "NoneType"]
    given = GIVEN.search(report.message, found.start())
    value = given["value"] if given else ""
    return f"{report.place(report.keys_above(found.start()), value)}: expected {' or '.join(types) or 'nothing'}, got {value!r}"


EXPLANATIONS: list[tuple[re.Pattern[str], Callable[[Report, re.Match[str]], str]]] = [
    (UNKNOWN_KEY, _unknown_key),
    (UNKNOWN_FLAG, _unknown_flag),
    (UNKNOWN_NAME, _unknown_name),
    (UNKNOWN_ATTRIBUTE, _unknown_attribute),
    (UNKNOWN_MODULE, _unknown_module),
    (ABSTRACT, _abstract),
    (REQUIRED, _required),
    (MISSING_FILE, _missing_file),
    (SUBCOMMAND, _subcommand),
    (BAD_SYNTAX, _bad_syntax),
    (NO_CLASS, _no_class),
    (EXPECTED, _wrong_type),
]
"""Tried in this order. A union reports all its branches; what the user got wrong is in the branch that came furthest."""
