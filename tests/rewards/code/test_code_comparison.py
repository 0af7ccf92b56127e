import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lit_rlvr.rewards.code import same_output, same_value


@pytest.mark.parametrize(
    ("expected", "got"),
    [
        ("42\n", "42"),
        ("42", "42\n\n\n"),
        ("1 2\n3\n", "1 2\r\n3\r\n"),
        ("1 2  \n3", "1 2\n3   \n  \n"),
        ("a  b", "a  b\t"),
        ("", "\n \n"),
        ("a\n\nb", "a\n\nb\n"),
        ("1 2 3", "1  2   3"),
        ("1 2 3", " 1 2 3"),
        ("5", "5.0"),
        ("5", "+5"),
        ("-0", "0"),
        ("0.0", "-0.0"),
        ("100000", "1e5"),
        ("0.5", ".5"),
        ("0.333333333", "0.3333333"),
        ("1000000.0", "1000000.9"),
        ("1e-7", "0"),
        ("1e9", "1000000000.5"),
        ("Case #1: 0.50000", "Case #1: 0.5"),
        ("nan", "nan"),
        ("é", "é"),
        (
            "123456789012345678901234567890123456789012345678901234567890",
            "123456789012345678901234567890123456789012345678901234567890",
        ),
        ("9007199254740993", "9007199254740993.0"),
        ("0010", "0010"),
    ],
)
def test_the_same_output(expected: str, got: str) -> None:
    assert same_output(expected.encode(), got.encode())


@pytest.mark.parametrize(
    ("expected", "got"),
    [
        ("42", "43"),
        ("42", ""),
        ("", "0"),
        ("1 2", "1 2 3"),
        ("1 2 3", "1 2"),
        ("1\n2", "1"),
        ("1\n2", "1\n2\n3"),
        ("1\n2", "1 2"),
        ("1 2", "1\n2"),
        ("a\n\nb", "a\nb"),
        ("a", "\na"),
        ("  *\n ***", "*\n***"),
        ("a b", "a  b"),
        ("Yes", "YES"),
        ("1", "1.0000001"),
        ("9007199254740993", "9007199254740992"),
        ("1e-7", "1e-5"),
        ("1.0", "1.00001"),
        ("1000000.0", "1000002.0"),
        ("nan", "NaN"),
        ("1", "nan"),
        ("1.0", "nan"),
        ("inf", "Infinity"),
        ("1000", "1_000"),
        ("1000", "1,000"),
        ("42", "٤٢"),
        ("42", "４２"),
        ("1", "True"),
        ("1", "0x1"),
        ("10", "0010"),
        ("0010", "10"),
        ("2", "1+1"),
        ("1/2", "0.5"),
        ("0.5", "1/2"),
        ("1", "1j"),
        ("1", "1e0_0"),
        ("42", "42\x00"),
        ("42", "42\u200b"),
        ("ab", "a b"),
        ("Case #1: 0.5", "Case  #1: 0.5000"),
        ("1" * 60, "1" * 59 + "2"),
        ("1" * 60, "+" + "1" * 60),
        ("1.0", "1e999999999"),
        ("1.0", "1" + "0" * 999_999),
    ],
)
def test_another_output(expected: str, got: str) -> None:
    assert not same_output(expected.encode(), got.encode())


def test_output_that_is_not_utf_8_is_only_wrong() -> None:
    assert not same_output("é".encode(), "é".encode("latin-1"))
    assert same_output(b"\xff", b"\xff")


@pytest.mark.parametrize(
    "got",
    [b"9" * 1_000_000, b"1e" * 500_000, b"1 " * 500_000, b"\n" * 1_000_000, b"." * 1_000_000, b"0." + b"1" * 1_000_000],
    ids=["digits", "exponents", "tokens", "lines", "points", "decimals"],
)
@pytest.mark.parametrize("expected", [b"1.5", None])
def test_a_million_bytes_are_compared_at_once(expected: bytes | None, got: bytes) -> None:
    start = time.process_time()
    assert same_output(expected or got[:-1] + b"7", got) is False
    assert time.process_time() - start < 5.0


@given(st.binary(max_size=200))
def test_an_output_is_itself(text: bytes) -> None:
    assert same_output(text, text)
    assert same_output(text, text + b"\r\n")


@given(st.integers(-(10**20), 10**20), st.integers(-(10**20), 10**20))
def test_integers_are_exact(a: int, b: int) -> None:
    assert same_output(str(a).encode(), str(b).encode()) is (a == b)
    assert same_value(str(a), str(b)) is (a == b)


@pytest.mark.parametrize(
    ("expected", "got"),
    [
        ("1", "1"),
        ("1", "1.0"),
        ("0.3", "0.30000000000000004"),
        ("1.0", "1"),
        ("1e10", "10000000000.5"),
        ("[1, [2, null]]", "[1,[2,null]]"),
        ('{"a": 1, "b": [true]}', '{"b": [true], "a": 1}'),
        ('"\\u00e9"', '"é"'),
        ("Infinity", "Infinity"),
        ("0.0", "-0.0"),
        (str(10**400), str(10**400)),
    ],
)
def test_the_same_value(expected: str, got: str) -> None:
    assert same_value(expected, got)


@pytest.mark.parametrize(
    ("expected", "got"),
    [
        ("1", "true"),
        ("true", "1"),
        ("0", "false"),
        ("0", "null"),
        ("false", "null"),
        ("1", '"1"'),
        ("[]", "{}"),
        ("[]", "null"),
        ("[1, 2]", "[1, 2, 3]"),
        ("[1, 2]", "[2, 1]"),
        ('{"a": 1}', '{"a": 1, "b": 2}'),
        ('{"1": 1}', "[1, 1]"),
        ("1", "1.0000001"),
        ("1e-7", "1e-5"),
        ("0.5", "NaN"),
        ("NaN", "NaN"),
        ("1.0", "Infinity"),
        ("1.5", str(10**400)),
        (str(10**400), "1e400"),
        ("1", ""),
        ("1", "1 2"),
        ("1", "__import__('os')"),
        ("1", "9" * 1_000_000),
        ("1", "[" * 1_000_000),
        ("1", '{"a":' * 200_000),
    ],
)
def test_another_value(expected: str, got: str) -> None:
    assert not same_value(expected, got)


def test_what_is_nested_too_deeply_is_never_equal() -> None:
    shallow, deep = "[" * 99 + "]" * 99, "[" * 101 + "]" * 101
    assert same_value(shallow, shallow)
    assert not same_value(deep, deep)
