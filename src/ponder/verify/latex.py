"""LaTeX and plain mathematical writing, cut into tokens of one spelling: the ground under every tier of `verify_math`.

One pass over the text, with fixed alternatives and no backtracking; nothing is evaluated here.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ponder.verify.units import KNOWN

MAX_TOKENS = 1500


_SHORT_WORDS = {"no", "is", "in", "on", "to", "of", "at", "by", "it", "we", "am", "pm", "st", "nd", "rd", "th"}


class Token(NamedTuple):
    """kind: num, sym, fun, const, word (bare letters), text (`\\text{…}`), op, rel, sep, open, close, cmd, unit, mark.

    value: the one spelling of it. spaced: whether white space stood before it.
    """

    kind: str
    value: str
    spaced: bool = False


class Unreadable(ValueError):
    """Why a text cannot be read as mathematics, in a few words."""


_VULGAR = [("½", 1, 2), ("⅓", 1, 3), ("⅔", 2, 3), ("¼", 1, 4), ("¾", 3, 4), ("⅕", 1, 5), ("⅖", 2, 5), ("⅗", 3, 5),
           ("⅘", 4, 5), ("⅙", 1, 6), ("⅚", 5, 6), ("⅛", 1, 8), ("⅜", 3, 8), ("⅝", 5, 8), ("⅞", 7, 8), ("⅐", 1, 7),
           ("⅑", 1, 9), ("⅒", 1, 10)]  # fmt: skip
_UNICODE = str.maketrans(
    {
        "−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-", "×": "*", "·": "*", "⋅": "*", "∗": "*", "∙": "*", "÷": "/",
        "⁄": "/", "∕": "/", "≤": "\\le ", "⩽": "\\le ", "≥": "\\ge ", "⩾": "\\ge ", "≠": "\\ne ", "≈": "\\approx ",
        "π": "\\pi ", "∞": "\\infty ", "∪": "\\cup ", "∩": "\\cap ", "∈": "\\in ", "∅": "\\emptyset ", "±": "\\pm ",
        "∓": "\\mp ", "⟨": "\\langle ", "⟩": "\\rangle ", "〈": "\\langle ", "〉": "\\rangle ", "°": "^\\circ ",
        "º": "^\\circ ", "√": "\\sqrt ", "…": "\\ldots ", "⋯": "\\ldots ", "ℝ": "\\mathbb{R}", "ℤ": "\\mathbb{Z}",
        "ℕ": "\\mathbb{N}", "ℚ": "\\mathbb{Q}", "ℂ": "\\mathbb{C}", "∖": "\\setminus ", "∠": "\\angle ",
        **{c: f"\\frac{{{n}}}{{{d}}}" for c, n, d in _VULGAR},
        "α": "\\alpha ", "β": "\\beta ", "γ": "\\gamma ", "δ": "\\delta ", "θ": "\\theta ",
        "λ": "\\lambda ", "μ": "\\mu ", "σ": "\\sigma ", "φ": "\\phi ", "ω": "\\omega ", "ρ": "\\rho ", "τ": "\\tau ",
        "\u00a0": " ", "\u202f": " ", "\u2009": " ", "\u200b": "", "\ufeff": "", "\u2062": "", "\u2061": "",
        "，": ",", "；": ";", "：": ":", "（": "(", "）": ")", "％": "%", "＝": "=", "。": ".", "＋": "+", "－": "-",
        "′": "'", "’": "'", "€": "\\euro ", "£": "\\pound ", "¥": "\\yen ", "¢": "\\cent ",
        "∛": "\\sqrt[3]", "∜": "\\sqrt[4]",
        "ⅇ": "e", "ⅈ": "i", "˚": "^\\circ ",
        **{chr(0xFF10 + n): str(n) for n in range(10)},
    }
)  # fmt: skip
_SUPERSCRIPTS = {"⁰": "0", "¹": "1", "²": "2", "³": "3", "⁴": "4", "⁵": "5", "⁶": "6", "⁷": "7", "⁸": "8", "⁹": "9"}
_SUPER = re.compile("[" + "".join(_SUPERSCRIPTS) + "⁻⁺ⁿ]+")
_SUBSCRIPTS = {chr(0x2080 + n): str(n) for n in range(10)}
_SUB = re.compile("[" + "".join(_SUBSCRIPTS) + "]+")
_COMMANDS = (
    "frac|dfrac|tfrac|cfrac|sqrt|left|right|boxed|fbox|pi|text|textbf|mathrm|mathbf|cdot|times|infty|cup|pm|begin|end|"
    "le|leq|ge|geq|circ|quad|theta|sin|cos|tan|log|ln|in|ldots|dots|binom|overline"
)
_DOUBLED = re.compile(rf"(?<!\\)\\\\(?=(?:{_COMMANDS})(?![a-zA-Z]))")

FUNCTIONS = {
    "sin": "sin", "cos": "cos", "tan": "tan", "cot": "cot", "sec": "sec", "csc": "csc", "arcsin": "asin",
    "arccos": "acos", "arctan": "atan", "asin": "asin", "acos": "acos", "atan": "atan", "sinh": "sinh",
    "cosh": "cosh", "tanh": "tanh", "ln": "ln", "log": "log", "lg": "lg", "exp": "exp", "arccot": "acot",
    "det": "det", "gcd": "gcd", "lcm": "lcm", "max": "max", "min": "min",
}  # fmt: skip
_CONSTANTS = {"pi": "pi", "infty": "inf", "infinity": "inf", "inf": "inf", "emptyset": "empty", "varnothing": "empty"}
_GREEK = set(
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho sigma tau phi "
    "varphi chi psi omega upsilon Gamma Delta Theta Lambda Xi Sigma Phi Psi Omega ell hbar".split()
)
_RELATIONS = {
    "lt": "<", "gt": ">", "le": "<=", "leq": "<=", "leqslant": "<=", "leqq": "<=", "ge": ">=", "geq": ">=",
    "geqslant": ">=", "geqq": ">=", "ne": "!=", "neq": "!=", "approx": "~", "approxeq": "~", "simeq": "~",
    "in": "in", "equiv": "==", "doteq": "=", "coloneqq": "=", "Rightarrow": "=>", "implies": "=>", "iff": "=>",
    "Leftrightarrow": "=>", "to": "->", "rightarrow": "->", "longrightarrow": "->", "mid": "|", "cong": "==",
}  # fmt: skip
_SPACES = set("quad qquad thinspace medspace thickspace enspace hspace hfill null displaystyle textstyle".split()) | {
    "limits", "nolimits", "scriptstyle", "rm", "it", "bf", "large", "Large", "small", "normalsize", "left", "right",
    "big", "Big", "bigg", "Bigg", "bigl", "bigr", "Bigl", "Bigr", "biggl", "biggr", "Biggl", "Biggr", "middle",
    "boxed", "fbox", "mathop", "mathrel", "mathbin", "mathopen", "mathclose", "hline", "nonumber", "strut",
    "ensuremath", "negthinspace", "centering", "notag", "underbrace", "phantom", "hbox", "mathstrut", "qed",
}  # fmt: skip
_TEXTS = {"text", "textbf", "textit", "textrm", "textnormal", "textsf", "texttt", "mbox", "mathrm", "operatorname"} | {
    "emph", "mathsf", "mathtt", "textup", "rmfamily", "boldtext", "textsc", "unit"
}  # fmt: skip
_PLAIN = {"mathbf", "boldsymbol", "bm", "mathit", "mathcal", "mathscr", "mathfrak", "vec", "hat", "widehat"} | {
    "overrightarrow", "pmb", "bold", "symbf", "mathnormal", "tilde", "widetilde"
}  # fmt: skip
_CURRENCY = {
    "cent": "cent",
    "euro": "euro",
    "pound": "pound",
    "yen": "yen",
    "pounds": "pound",
    "EUR": "euro",
    "USD": "dollar",
}
_SEPARATORS = {"and": "and", "or": "or", "und": "and", "oder": "or", "land": "and", "lor": "or", "wedge": "and",
               "vee": "or", "AND": "and", "OR": "or"}  # fmt: skip

_GROUP = r"(?:\{,\}|,\\!\s{0,2}|\\,|\\ |\\;|~|\{\\,\}|,\\,)"
_NUMBER = re.compile(
    rf"(?P<rep>\d*\.\d*(?:\\overline|\\bar|\\dot|\\overset)\s?\{{\d+\}})"
    rf"|(?P<sci>(?:\d+(?:\.\d*)?|\.\d+)[eE][+-]?\d{{1,4}}(?![\d.]))"
    rf"|(?P<grp>\d{{1,3}}(?:(?:{_GROUP}| )\d{{3}})+(?!\d)(?:\.\d+)?)"
    rf"|(?P<tho>\d{{1,3}}(?:,\d{{3}})+(?!\d)(?:\.\d+)?)"
    rf"|(?P<num>\d+(?:\.\d+)?|\.\d+)",
    re.ASCII,
)
_COMMA = re.compile(r"(?:\d{1,3}(?:[. ]\d{3})+|\d+),\d+(?![,\d])", re.ASCII)
_WORD = re.compile(r"[^\W\d_]+")
_COMMAND = re.compile(r"\\([a-zA-Z]+)\*?")
_BLANK = re.compile(r"(?:\s|~|\\[ ,;:!>/@\n\t])+")
_SKIP_ARGUMENT = re.compile(r"\s*(?:\[[^\]]{0,20}\]|\{-?[\d.]{0,8}\s?(?:cm|mm|pt|em|ex)\})")
_JOINED = re.compile(r"(or|and)([A-Z])")
_OPEN, _CLOSE = {"(": "(", "[": "["}, {")": ")", "]": "]"}


def tidy(text: str) -> str:
    """`text` with one spelling for unicode signs, doubled backslashes undone, and math delimiters gone."""
    text = _DOUBLED.sub(lambda _: "\\", text)
    text = _SUPER.sub(_superscript, text)
    text = _SUB.sub(lambda m: "_{" + "".join(_SUBSCRIPTS[c] for c in m[0]) + "}", text)
    text = text.translate(_UNICODE).strip()
    while len(text) > 4 and text.startswith("**") and text.endswith("**"):
        text = text[2:-2].strip()
    return text


def _superscript(match: re.Match[str]) -> str:
    inside = "".join(_SUPERSCRIPTS.get(c, {"⁻": "-", "⁺": "+", "ⁿ": "n"}.get(c, "")) for c in match[0])
    return "^{" + inside + "}"


def tokens(text: str, thousands: bool = True, decimal_comma: bool = False) -> list[Token]:
    """The tokens of `text`. thousands: `1,000` outside brackets is one number. decimal_comma: `2,74` is one number.

    Raises Unreadable past MAX_TOKENS tokens.
    """
    found: list[Token] = []
    text = tidy(text)
    at, depth, spaced, end = 0, 0, False, len(text)
    while at < end:
        if len(found) > MAX_TOKENS:
            raise Unreadable("too long")
        char = text[at]
        if char in " \t\n\r\f\v~" or (char == "\\" and at + 1 < end and text[at + 1] in " ,;:!>/@\n\t"):
            blank = _BLANK.match(text, at)
            at = blank.end() if blank else at + 1
            spaced = True
            continue
        if char.isascii() and (char.isdigit() or (char == "." and at + 1 < end and text[at + 1] in "0123456789\\")):
            token, at = _number(text, at, thousands and depth == 0, decimal_comma and depth == 0)
            found.append(token._replace(spaced=spaced))
        elif char == "\\":
            at, depth = _command(text, at, found, spaced, depth)
        elif char.isalpha():
            match = _WORD.match(text, at)
            word = match[0] if match else char
            at += len(word)
            _append_word(word, found, spaced, raised=text[at : at + 1] in ("^", "_"))
        else:
            depth += char in "([" and 1 or (char in ")]" and -1 or 0)
            at = _sign(text, at, found, spaced)
        spaced = False
    return _trimmed(found)


def _number(text: str, at: int, thousands: bool, decimal_comma: bool) -> tuple[Token, int]:
    if decimal_comma and (comma := _COMMA.match(text, at)):
        whole, _, part = comma[0].rpartition(",")
        return Token("num", f"{re.sub('[. ]', '', whole)}.{part}"), comma.end()
    match = _NUMBER.match(text, at)
    if match is None:
        return Token("mark", "."), at + 1
    if match.lastgroup == "tho" and not thousands:
        head = match[0].split(",", 1)[0]
        return Token("num", head), at + len(head)
    value = match[0]
    if match.lastgroup == "rep":
        whole, _, rest = value.partition(".")
        fixed, _, repeated = rest.partition("\\")
        value = f"{whole or '0'}.{fixed}({re.sub('[^0-9]', '', repeated)})"
    elif match.lastgroup in ("grp", "tho"):
        value = re.sub(r"[^\d.]", "", value)
    end = match.end()
    if text[end : end + 1] == "." and not text[end + 1 : end + 2].isdigit() and text[end + 1 : end + 2] != ".":
        end += 1  # `5.` with nothing behind the point
    return Token("num", value.rstrip(".") if match.lastgroup != "sci" else value.lower()), end


def _braced(text: str, at: int) -> tuple[str, int] | None:
    """What stands in the braces that open at `at` (white space before them allowed), and where they end."""
    while at < len(text) and text[at] == " ":
        at += 1
    if at >= len(text) or text[at] != "{":
        return None
    depth = 0
    for place in range(at, min(len(text), at + 500)):
        if text[place] in "{}" and text[place - 1] != "\\":
            depth += 1 if text[place] == "{" else -1
            if depth == 0:
                return text[at + 1 : place], place + 1
    return None


def _command(text: str, at: int, found: list[Token], spaced: bool, depth: int) -> tuple[int, int]:
    match = _COMMAND.match(text, at)
    if match is None:
        sign = text[at + 1 : at + 2]
        if sign == "\\":
            found.append(Token("sep", "row"))
        elif sign in ("{", "}"):
            found.append(Token("open" if sign == "{" else "close", "set" + sign))
            depth += 1 if sign == "{" else -1
        elif sign in ("(", ")", "[", "]"):
            pass  # math delimiters
        elif sign == "%":
            found.append(Token("unit", "%", spaced))
        elif sign == "$":
            found.append(Token("unit", "dollar", spaced))
        elif sign == "|":
            found.append(Token("mark", "|"))
        elif sign == "'":
            pass
        return at + 2, depth
    name, end = match[1], match.end()
    if name in ("lbrace", "rbrace"):
        found.append(Token("open" if name[0] == "l" else "close", "set{" if name[0] == "l" else "set}"))
        return end, depth + (1 if name[0] == "l" else -1)
    if name in ("langle", "rangle"):
        found.append(Token("open" if name[0] == "l" else "close", "<" if name[0] == "l" else ">"))
        return end, depth + (1 if name[0] == "l" else -1)
    if name in ("left", "right") and text[end : end + 1] == ".":
        return end + 1, depth
    if name in _TEXTS:
        inside = _braced(text, end)
        if inside is not None:
            _append_text(inside[0], found, spaced, name)
            return inside[1], depth
        return end, depth
    if name in ("mathbb", "Bbb"):
        inside = _braced(text, end)
        found.append(Token("const", "set" + (inside[0].strip() if inside else ""), spaced))
        return (inside[1] if inside else end), depth
    if name in _PLAIN and (inside := _braced(text, end)) is not None and len(inside[0]) == 1:
        letter = inside[0]
        vector = name not in ("mathit", "mathcal", "mathscr", "mathfrak", "mathnormal") and letter in "ijk"
        found.append(Token("sym", "v" + letter if vector else letter, spaced))
        return inside[1], depth
    if name in ("begin", "end"):
        inside = _braced(text, end)
        kind = (inside[0] if inside else "").rstrip("*")
        end = inside[1] if inside else end
        if kind == "array" and name == "begin" and (columns := _braced(text, end)):
            end = columns[1]
        found.append(Token("open" if name == "begin" else "close", f"{name}:{kind}"))
        return end, depth + (1 if name == "begin" else -1)
    if name in ("hspace", "vspace", "phantom"):
        skip = _SKIP_ARGUMENT.match(text, end)
        return (skip.end() if skip else end), depth
    found.extend(_named(name, spaced))
    return end, depth


def _named(name: str, spaced: bool) -> list[Token]:
    if name in ("frac", "dfrac", "tfrac", "cfrac", "nicefrac", "sfrac"):
        return [Token("cmd", "frac", spaced)]
    if name in ("binom", "dbinom", "tbinom"):
        return [Token("cmd", "binom", spaced)]
    if name in ("sqrt", "overline", "bar", "pmod", "bmod", "mod", "not", "dot"):
        return [Token("cmd", name, spaced)]
    if name in FUNCTIONS:
        return [Token("fun", FUNCTIONS[name], spaced)]
    if name in _CONSTANTS:
        return [Token("const", _CONSTANTS[name], spaced)]
    if name in _GREEK:
        return [Token("sym", {"varepsilon": "epsilon", "varphi": "phi", "vartheta": "theta"}.get(name, name), spaced)]
    if name in _RELATIONS:
        return [Token("mark", "|")] if name == "mid" else [Token("rel", _RELATIONS[name])]
    if name in _SEPARATORS:
        return [Token("sep", _SEPARATORS[name])]
    if name in _CURRENCY:
        return [Token("unit", _CURRENCY[name], spaced)]
    if name in ("cdot", "times", "ast"):
        return [Token("op", "*")]
    if name == "div":
        return [Token("op", "/")]
    if name in ("cup", "bigcup"):
        return [Token("op", "cup")]
    if name in ("cap", "bigcap"):
        return [Token("op", "cap")]
    if name in ("setminus", "backslash", "smallsetminus"):
        return [Token("op", "setminus")]
    if name in ("pm", "mp"):
        return [Token("op", name)]
    if name in ("circ", "degree", "degrees"):
        return [Token("op", "circ" if name == "circ" else "degree", spaced)]
    if name in ("dots", "ldots", "cdots", "dotsc", "dotsb", "vdots", "ddots", "dotsm"):
        return [Token("mark", "...")]
    if name in ("lvert", "rvert", "vert", "Vert", "lVert", "rVert"):
        return [Token("mark", "|")]
    if name in ("lfloor", "lceil"):
        return [Token("open", name[1:])]
    if name in ("rfloor", "rceil"):
        return [Token("close", name[1:])]
    if name == "colon":
        return [Token("mark", ":")]
    if name in ("lbrack", "rbrack"):
        return [Token("open", "[") if name[0] == "l" else Token("close", "]")]
    if name == "angle" or name in _SPACES or name in _PLAIN:
        return []
    return [Token("cmd", name, spaced)]  # \sum, \int, …: known by name alone


def _append_word(word: str, found: list[Token], spaced: bool, raised: bool = False) -> None:
    """raised: a power or an index follows, which belongs to the last letter of a product `ab`."""
    if word in ("st", "nd", "rd", "th") and found and found[-1].kind == "num" and not spaced:
        return  # 21st
    joined = _JOINED.fullmatch(word)
    if joined:
        found.append(Token("sep", joined[1]))
        word = joined[2]
    low = word.lower()
    if word in _SEPARATORS or low in ("and", "or"):
        found.append(Token("sep", _SEPARATORS[low], spaced))
    elif word in FUNCTIONS and len(word) > 1:
        found.append(Token("fun", FUNCTIONS[word], spaced))
    elif word in ("sqrt", "frac", "binom"):
        found.append(Token("cmd", word, spaced))
    elif low in _CONSTANTS and low != "inf":
        found.append(Token("const", _CONSTANTS[low], spaced))
    elif word in _GREEK:
        found.append(Token("sym", word, spaced))
    elif word in ("percent", "pct", "percentage"):
        found.append(Token("unit", "%", spaced))
    elif len(word) == 1 or _is_product(word, raised):
        for place, letter in enumerate(word):
            found.append(Token("const" if letter in "ei" else "sym", letter, spaced and not place))
    else:
        found.append(Token("word", word, spaced))


def _is_product(word: str, raised: bool) -> bool:
    known = word in KNOWN or word.lower() in KNOWN or word.lower() in _SHORT_WORDS
    return not known and (len(word) == 2 or raised and len(word) <= 4)


def _append_text(inside: str, found: list[Token], spaced: bool, name: str) -> None:
    """`\\text{…}`: joining words are separators, mathematics is read as such, the rest stays text."""
    spaced = spaced or inside[:1] in (" ", "~")
    bare = inside.replace("~", " ").replace("\\ ", " ").strip().strip("$").strip()
    low = bare.lower().strip(" ,.:;")
    if low in ("and", "or", "und", "oder", "and/or"):
        found.append(Token("sep", "or" if low.startswith("o") else "and"))
    elif name in ("mathrm", "operatorname") and (bare in FUNCTIONS):
        found.append(Token("fun", FUNCTIONS[bare], spaced))
    elif not bare:
        return
    elif len(bare) == 1 and bare in "ei" and name == "mathrm":
        found.append(Token("const", bare, spaced))
    elif bare[0].isdigit() and len(bare) < 200 and "\\text" not in bare:
        found.extend(tokens(bare))
    elif bare.strip("()[]").isalpha() and len(bare.strip("()[]")) > 1:
        _text_token(bare.strip("()[]"), found, spaced)
    elif bare.isalpha() or " " in bare or not any(c.isdigit() or c in "()[]" for c in bare):
        words = _WORD.findall(bare) if any(c.isdigit() for c in bare) else []
        if words or not any(c.isdigit() for c in bare) or len(bare) > 60:
            _text_token(bare, found, spaced)
        else:
            found.extend(tokens(bare))
    else:
        found.extend(tokens(bare) if len(bare) < 200 and "\\text" not in bare else [Token("text", bare, spaced)])


def _text_token(bare: str, found: list[Token], spaced: bool) -> None:
    if bare.lower().strip(" .") in ("percent", "per cent", "pct", "%", "\\%"):
        found.append(Token("unit", "%", spaced))
    elif bare.lower().strip(" .") in ("degrees", "degree"):
        found.append(Token("op", "degree", True))
    else:
        found.append(Token("text", bare, spaced))


_SIGNS = {
    "+": Token("op", "+"), "-": Token("op", "-"), "*": Token("op", "*"), "/": Token("op", "/"), "^": Token("op", "^"),
    "_": Token("op", "_"), "!": Token("op", "!"), "=": Token("rel", "="), "<": Token("rel", "<"),
    ">": Token("rel", ">"), ",": Token("sep", ","), ";": Token("sep", ";"), "(": Token("open", "("),
    ")": Token("close", ")"), "[": Token("open", "["), "]": Token("close", "]"), "{": Token("open", "{"),
    "}": Token("close", "}"), "|": Token("mark", "|"), ":": Token("mark", ":"), "%": Token("unit", "%"),
    "&": Token("sep", "&"), "'": Token("mark", "'"), ".": Token("mark", "."), "?": Token("mark", "?"),
}  # fmt: skip


def _sign(text: str, at: int, found: list[Token], spaced: bool) -> int:
    for long, token in (("**", Token("op", "^")), ("...", Token("mark", "...")), ("!=", Token("rel", "!=")),
                        ("<=", Token("rel", "<=")), (">=", Token("rel", ">=")), ("=>", Token("rel", "=>")),
                        ("->", Token("rel", "->")), ("==", Token("rel", "="))):  # fmt: skip
        if text.startswith(long, at):
            found.append(token)
            return at + len(long)
    char = text[at]
    if char == "$":  # a delimiter, or dollars before a number
        following = text[at + 1 : at + 2]
        if following.isdigit() and text.count("$", at, at + 60) % 2 == 1 and not found:
            found.append(Token("unit", "dollar", spaced))
        return at + 1
    found.append(_SIGNS.get(char, Token("mark", char))._replace(spaced=spaced))
    return at + 1


def _trimmed(found: list[Token]) -> list[Token]:
    """Without full stops and commas at the ends."""
    loose = {("mark", "."), ("sep", ","), ("sep", ";"), ("sep", "row"), ("mark", ":"), ("mark", "?"), ("sep", "&")}
    first, last = 0, len(found)
    while last and (found[last - 1].kind, found[last - 1].value) in loose:
        last -= 1
    while first < last and (found[first].kind, found[first].value) in loose:
        first += 1
    return found[first:last]


def spelling(found: list[Token]) -> str:
    """One text for a list of tokens: equal texts are equal answers."""
    return " ".join(token.value for token in found)
