"""Units of measure: one name for each, and what those of one kind are to one another."""

from __future__ import annotations

import re
from fractions import Fraction

_TABLE = """
m meter meters metre metres|cm centimeter centimeters centimetre centimetres|mm millimeter millimeters
km kilometer kilometers kilometre kilometres|in inch inches|ft foot feet|yd yard yards|mi mile miles
g gram grams|kg kilogram kilograms|mg milligram milligrams|lb lbs pound-weight|oz ounce ounces
s sec secs second seconds|min mins minute minutes|h hr hrs hour hours|day days|week weeks|month months
year years|ms millisecond milliseconds|L l liter liters litre litres|mL ml milliliter milliliters
N newton newtons|J joule joules|kJ|W watt watts|kW|V volt volts|A amp amps|Hz hertz|Pa|kPa
dollar dollars USD usd|cent cents|euro euros EUR|pound pounds|yen|rad radian radians|mph|kmh km/h kph
mol moles|K kelvin|degC|degF|deg|%|unit units|piece pieces|people persons person|coin coins
apple apples|way ways|time times|digit digits|gallon gallons gal|quart quarts|pint pints|cup cups|mpg
acre acres|ton tons|rpm|sq|cubic|item items|student students|term terms|point points|side sides
"""
_NAMES = {word: group.split()[0] for line in _TABLE.splitlines() for group in line.split("|") for word in group.split()}
KNOWN = {name for name in _NAMES if len(name) > 1}
_EMPTY = {"unit", "sq", "square", "cubic", "of", "the", "a", "in", "per", "item", "total"}
_SCALE: dict[str, tuple[str, Fraction]] = {
    "m": ("length", Fraction(1)), "cm": ("length", Fraction(1, 100)), "mm": ("length", Fraction(1, 1000)),
    "km": ("length", Fraction(1000)), "in": ("imperial", Fraction(1)), "ft": ("imperial", Fraction(12)),
    "yd": ("imperial", Fraction(36)), "mi": ("imperial", Fraction(63360)), "g": ("mass", Fraction(1)),
    "kg": ("mass", Fraction(1000)), "mg": ("mass", Fraction(1, 1000)), "lb": ("weight", Fraction(16)),
    "oz": ("weight", Fraction(1)), "s": ("time", Fraction(1)), "ms": ("time", Fraction(1, 1000)),
    "min": ("time", Fraction(60)), "h": ("time", Fraction(3600)), "day": ("time", Fraction(86400)),
    "week": ("time", Fraction(604800)), "L": ("volume", Fraction(1)), "mL": ("volume", Fraction(1, 1000)),
    "dollar": ("money", Fraction(100)), "cent": ("money", Fraction(1)),
}  # fmt: skip
_PIECES = re.compile(r"[A-Za-z]+|%|\^\s?\{?-?\d+\}?|/|[^\W\d_]+")


def unit_name(words: list[str]) -> str:
    """`["square", "inches"]`, `["in", "^2"]` and `["in^2"]` alike: `in^2`. Unknown words stay, in lower case."""
    whole = " ".join(words).replace("\\", " ")
    parts: list[str] = []
    power = ""
    for piece in _PIECES.findall(whole.replace("per cent", "%").replace(" per ", " / ")):
        if piece.startswith("^"):
            exponent = piece.strip("^{} ")
            if parts and exponent != "1":
                parts[-1] += "^" + exponent
            continue
        low = piece.lower()
        name = _NAMES.get(piece) or _NAMES.get(low) or low
        if name in ("square", "sq"):
            power = "^2"
        elif name == "cubic":
            power = "^3"
        elif low not in _EMPTY or (low == "in" and not parts and len(words) == 1):
            parts.append(name + power)
            power = ""
    name = " ".join(parts).replace(" / ", "/").strip("/ ")
    return {"km/h": "kmh", "mi/h": "mph"}.get(name, name)


def factor(one: str, other: str) -> Fraction | None:
    """How many of `other` one of `one` is, where both measure the same: `factor("m", "cm")` is 100. None otherwise."""
    if one == other:
        return Fraction(1)
    (base, power), (base_other, power_other) = _split(one), _split(other)
    here, there = _SCALE.get(base), _SCALE.get(base_other)
    if power != power_other or here is None or there is None or here[0] != there[0]:
        return None
    return (here[1] / there[1]) ** power


def _split(name: str) -> tuple[str, int]:
    base, _, power = name.partition("^")
    return base, int(power) if power.isdigit() and len(power) == 1 else 1


def alike(one: str, other: str) -> bool:
    """Whether two names may stand for the same: equal, or one says more than the other (`hour`, `hour ago`)."""
    first, second = set(one.split()), set(other.split())
    return not first or not second or first <= second or second <= first or _singular(first) == _singular(second)


def _singular(words: set[str]) -> set[str]:
    return {word[:-1] if word.endswith("s") else word for word in words}
