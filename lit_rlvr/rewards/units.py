"""Units and percent signs at the end of an answer."""

import re

_NAMES = {
    "mm": "millimeter millimetre",
    "cm": "centimeter centimetre",
    "m": "meter metre",
    "km": "kilometer kilometre",
    "in": "inch inche",
    "ft": "foot feet",
    "yd": "yard",
    "mi": "mile",
    "s": "second sec",
    "min": "minute",
    "h": "hour hr",
    "day": "day",
    "week": "week",
    "month": "month",
    "year": "year yr",
    "mg": "milligram",
    "g": "gram",
    "kg": "kilogram",
    "lb": "pound",
    "oz": "ounce",
    "ml": "milliliter millilitre mL",
    "l": "liter litre L",
    "gal": "gallon",
    "dollar": "dollar USD",
    "cent": "cent",
    "degree": "degree deg",
    "radian": "radian rad",
    "mph": "mph",
}
_CANONICAL = {name: unit for unit, names in _NAMES.items() for name in (unit, *names.split())}
_POWERS = {"square": "2", "sq": "2", "squared": "2", "cubic": "3", "cubed": "3"}
_IN_TEXT = re.compile(
    r"(.*[\d})\]])\s*\\(?:text(?:rm|it)?|mbox|mathrm)\s*\{\s*([a-zA-Z][a-zA-Z/. ]*?)\.?\s*(?:\^\{?([23])\}?)?\s*\}(?:\^\{?([23])\}?)?",
    re.DOTALL,
)
_BARE = re.compile(r"(.*\d)(\s+[a-zA-Z]{2,}(?:(?:/| )[a-zA-Z]+){0,3}|[cmk]m|kg)()(?:\^\{?([23])\}?)?", re.DOTALL)
_DEGREES = re.compile(r"(.*[\d})\]])\s*(?:\^\s*\{?\s*\\circ\s*\}?|°|\\degree)", re.DOTALL)
_DOLLARS = re.compile(r"\s*\\\$\s*([\d.,]+)")


def split_unit(answer: str) -> tuple[str, str]:
    r"""Return a cleaned answer without its unit, and the unit in one spelling; an empty one for units that are not known.

    >>> split_unit(r"15\mbox{ cm}^2"), split_unit("15 square centimeters"), split_unit("3 apples"), split_unit(r"90^\circ")
    (('15', 'cm^2'), ('15', 'cm^2'), ('3 apples', ''), ('90', 'degree'))
    """
    if match := _DEGREES.fullmatch(answer):
        return match.group(1).strip(), "degree"
    if match := _DOLLARS.fullmatch(answer):
        return match.group(1).strip(), "dollar"
    for pattern in (_IN_TEXT, _BARE):
        if (match := pattern.fullmatch(answer)) and (unit := _unit(match.group(2), match.group(3) or match.group(4) or "")):
            return match.group(1).strip(), unit
    return answer, ""


def _unit(words: str, power: str) -> str:
    parts = []
    for part in re.split(r"\s*/\s*|\s+per\s+", words.strip()):
        names = part.replace(".", "").split()
        powers = [_POWERS[name] for name in names if name in _POWERS] + ([power] if power else [])
        units = [_canonical(name) for name in names if name not in _POWERS]
        if len(units) != 1 or not units[0] or len(powers) > 1:
            return ""
        parts.append(units[0] + "".join(f"^{exponent}" for exponent in powers))
    return {"mi/h": "mph"}.get("/".join(parts), "/".join(parts))


def _canonical(name: str) -> str:
    known = name if name in _CANONICAL else name.lower()
    return _CANONICAL.get(known) or _CANONICAL.get(known.removesuffix("s"), "")


def split_percent(answer: str) -> tuple[str, bool]:
    """Return a normalized answer without the percent sign at its end, and whether there was one.

    >>> split_percent("25%"), split_percent("25"), split_percent("5%,10%")
    (('25', True), ('25', False), ('5%,10%', False))
    """
    return (answer[:-1].strip(), True) if answer.endswith("%") and "%" not in answer[:-1] else (answer, False)
