"""Answers as people type them, brought to one row of tokens: pure text, linear time, nothing is evaluated."""

from __future__ import annotations

import re

_UNICODE = {
    "−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-", "×": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ", "∙": r"\cdot ",
    "÷": r"\div ", "∕": "/", "⁄": "/", "°": r"^{\circ}", "π": r"\pi ", "∞": r"\infty ", "≤": r"\le ", "≥": r"\ge ",
    "≠": r"\ne ", "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ", "∅": r"\emptyset ", "±": r"\pm ", "∓": r"\mp ",
    "≈": r"\approx ",
    "⟨": r"\langle ", "⟩": r"\rangle ", "〈": r"\langle ", "〉": r"\rangle ", "∠": r"\angle ", "…": r"\dots ",
    "⋯": r"\dots ",
    "ℝ": r"\mathbb{R}", "ℤ": r"\mathbb{Z}", "ℕ": r"\mathbb{N}", "ℚ": r"\mathbb{Q}", "ℂ": r"\mathbb{C}", "′": "'",
    "’": "'",
    "½": r"\frac{1}{2}", "⅓": r"\frac{1}{3}", "⅔": r"\frac{2}{3}", "¼": r"\frac{1}{4}", "¾": r"\frac{3}{4}",
    "⅕": r"\frac{1}{5}",
    "⅖": r"\frac{2}{5}", "⅗": r"\frac{3}{5}", "⅘": r"\frac{4}{5}", "⅙": r"\frac{1}{6}", "⅚": r"\frac{5}{6}",
    "⅛": r"\frac{1}{8}",
    "⅜": r"\frac{3}{8}", "⅝": r"\frac{5}{8}", "⅞": r"\frac{7}{8}", "⌊": r"\lfloor ", "⌋": r"\rfloor ", "⌈": r"\lceil ",
    "⌉": r"\rceil ", "α": r"\alpha ", "β": r"\beta ", "γ": r"\gamma ", "δ": r"\delta ", "ε": r"\epsilon ",
    "θ": r"\theta ",
    "λ": r"\lambda ", "μ": r"\mu ", "ρ": r"\rho ", "σ": r"\sigma ", "τ": r"\tau ", "φ": r"\phi ", "ω": r"\omega ",
    "√": r"\sqrt ", "∛": r"\sqrt[3]", "\u00a0": " ", "\u2009": " ", "\u202f": " ", "\u2061": "", "\u200b": "",
    "\ufeff": "",
}  # fmt: skip
_TABLE = str.maketrans(_UNICODE)
_RAISED = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n", strict=True))
_LOWERED = dict(zip("₀₁₂₃₄₅₆₇₈₉", "0123456789", strict=True))
_RAISED_RUN = re.compile(f"[{''.join(_RAISED)}]+")
_LOWERED_RUN = re.compile(f"[{''.join(_LOWERED)}]+")

_SPACES = r"(?:\\[,;:!> ]|~|\\q?quad(?![A-Za-z])|\\thinspace|\\enspace|\\hspace\{[^{}]{0,20}\}|\{,\}|\{ , \})"
_THOUSANDS_GAP = re.compile(rf"(?<=\d){_SPACES}+(?=\d{{3}}(?!\d))", re.ASCII)
_GAP = re.compile(
    r"(?<!\\)\\[,;:!> ]|~|\\q?quad(?![A-Za-z])|\\(?:thinspace|enspace|negthinspace)(?![A-Za-z])|\\hspace\{[^{}]{0,20}\}"
)
_DROPPED = re.compile(
    r"\\(?:left|right|mleft|mright|[bB]ig[lrm]?|[bB]igg[lrm]?|displaystyle|textstyle|limits|nolimits|rm|bf|it|ensuremath|hline)(?![A-Za-z])"
    r"|\\\$|(?<!\\)\\[()\[\]](?![A-Za-z])|\$|\\phantom\{[^{}]{0,50}\}|\\label\{[^{}]{0,50}\}"
)
_SAME = {
    "dfrac": "frac", "tfrac": "frac", "cfrac": "frac", "dbinom": "binom", "tbinom": "binom", "leq": "le",
    "leqslant": "le",
    "geq": "ge", "geqslant": "ge", "lt": "<", "gt": ">", "neq": "ne", "lbrace": "{", "rbrace": "}",
    "varnothing": "emptyset",
    "ldots": "dots", "cdots": "dots", "dotsc": "dots", "dotsb": "dots", "degree": "circ", "lvert": "|", "rvert": "|",
    "vert": "|",
    "mid": "|", "ast": "cdot", "lbrack": "[", "rbrack": "]", "land": "and", "lor": "or", "wedge": "and", "vee": "or",
    "tg": "tan",
    "ctg": "cot", "arctg": "arctan", "epsilon": "varepsilon", "varphi": "phi", "asin": "arcsin",
    "acos": "arccos", "atan": "arctan", "imath": "i", "textdegree": "circ", "fbox": "boxed",
}  # fmt: skip
_STYLES = {"text", "mathrm", "textrm", "textbf", "textit", "textnormal", "mbox", "mathit", "mathbf", "operatorname",
    "mathsf", "bm",
           "boldsymbol", "textsf", "texttt", "mathcal", "hbox", "boxed", "mathbb", "mathop", "underline"}  # fmt: skip
OPEN = {"(", "[", "{", "\\{", "\\langle", "\\lfloor", "\\lceil"}
CLOSE = {")", "]", "}", "\\}", "\\rangle", "\\rfloor", "\\rceil"}
GREEK = {"alpha", "beta", "gamma", "delta", "varepsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu",
    "nu", "xi", "rho", "sigma",
         "tau", "upsilon", "phi", "chi", "psi", "omega", "Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma",
         "Phi", "Psi", "Omega",
         "ell", "hbar", "vartheta", "varrho"}  # fmt: skip
FUNCTIONS = {"sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan", "arccot", "sinh", "cosh",
    "tanh", "log", "ln",
             "exp", "gcd", "lcm", "max", "min", "lg"}  # fmt: skip
_WORDS = {"pi": r"\pi", "sqrt": r"\sqrt", "infinity": r"\infty", "inf": r"\infty", "infty": r"\infty",
    "oo": r"\infty", "theta": r"\theta",
          "alpha": r"\alpha", "beta": r"\beta", "and": r"\and", "or": r"\or", "cbrt": r"\cbrt", "percent": r"\%",
          "pct": r"\%",
          "percentage": r"\%", "degrees": r"\degrees", "degree": r"\degrees", "abs": r"\abs", "union": r"\cup",
          "asin": r"\arcsin",
          "acos": r"\arccos", "atan": r"\arctan", "phi": r"\phi", "lambda": r"\lambda", "gamma": r"\gamma"}  # fmt: skip
_TOKEN = re.compile(
    r"(?P<text>\\(?:" + "|".join(sorted(_STYLES)) + r")\s*\{(?P<inner>[^{}]{0,400})\})"
    r"|(?P<env>\\(?:begin|end)\s*\{(?P<name>[a-z*]{1,20})\}(?:(?<=array\})\{[^{}]{0,40}\})?)"
    r"|(?P<number>(?:\d+\.\d*|\.\d+|\d+))"
    r"|(?P<command>\\(?:[A-Za-z]+|\\|[{}%&#_|]))"
    r"|(?P<word>[A-Za-z]+)"
    r"|(?P<power>\*\*)|(?P<relation><=|>=|!=|==)"
    r"|(?P<space>\s+)|(?P<other>.)",
    re.ASCII | re.DOTALL,
)
_PROSE = re.compile(r"[A-Za-z]{4}|[A-Za-z] [A-Za-z]")
_UNIT = re.compile(r"[a-z]{1,3}(?:\^?[23]|/[a-z]{1,3}(?:\^?[23])?)")  # cm2, km/h
_JOIN = re.compile(r"(?<!\\)\\!\s*")
_DOUBLED = re.compile(r"\\\\(?=[A-Za-z,;!:])")
_SPACED = re.compile(r"\s*[-+]?\d{1,3}(?: \d{3})+(?:\.\d+)?\s*", re.ASCII)
_THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,])", re.ASCII)
_SCIENCE = re.compile(r"(?<![\w.}])(\d+(?:\.\d*)?|\.\d+)[eE]([+-]?\d{1,4})(?![\w.{])", re.ASCII)
_ORDINAL = re.compile(
    r"(?<=\d)\s?(?:\^\s?\{?\s?(?:\\(?:text|mathrm|textrm)\s?\{\s?(?:st|nd|rd|th)\s?\}|(?:st|nd|rd|th))\}?|(?:st|nd|rd|th)(?![A-Za-z]))"
)
_REPEATING = re.compile(
    r"(?<![\d.])(\d*)\.(\d*)(?:\\(?:overline|bar|dot|overline\s)\s*\{(\d{1,40})\}|\((\d{1,40})\))(?!\d)", re.ASCII
)


def tidy(text: str) -> str:
    """`text` with unicode signs as LaTeX, spacing and size commands gone, thousands joined,
    `1.0e3` and `0.\\overline{3}` exact."""
    text = _RAISED_RUN.sub(lambda run: "^{" + "".join(_RAISED[one] for one in run[0]) + "}", text)
    text = _LOWERED_RUN.sub(lambda run: "_{" + "".join(_LOWERED[one] for one in run[0]) + "}", text)
    text = _JOIN.sub("", text.translate(_TABLE))
    if "\\\\" in text and "\\begin" not in text:
        text = _DOUBLED.sub(r"\\", text)  # a command written with two backslashes
    text = _THOUSANDS_GAP.sub("", text)
    if _SPACED.fullmatch(text):
        text = text.replace(" ", "")
    text = _DROPPED.sub(" ", _GAP.sub(" ", text))
    text = _ORDINAL.sub("", text)
    text = _REPEATING.sub(_repeating, text)
    text = _SCIENCE.sub(r"(\1 \\cdot 10^{\2})", text)
    return _THOUSANDS.sub(_thousands, text).strip()


def _thousands(found: re.Match[str]) -> str:
    """`12,345` is one number, unless brackets of a tuple, interval or set are open; `1,000` always is."""
    before = found.string[: found.start()][-200:]
    inside = before.count("(") + before.count("[") + before.count("\\{") > before.count(")") + before.count(
        "]"
    ) + before.count("\\}")
    if inside and not any(group.startswith("0") for group in found[0].split(",")[1:]):
        return found[0]
    return found[0].replace(",", "")


def _repeating(found: re.Match[str]) -> str:
    whole, first, again = found[1] or "0", found[2], found[3] or found[4]
    below = int("9" * len(again) + "0" * len(first))
    return rf"(\frac{{{int(whole + first + again) - int(whole + first)}}}{{{below}}})"


def tokens(text: str) -> list[str]:
    """The tokens of an answer after `tidy`: numbers, single letters, commands, signs, and words as `"word`.

    Words in a text command stand as `"words`; a run of four letters and more that is no known name is one word too.
    """
    found: list[str] = []
    for match in _TOKEN.finditer(tidy(text)):
        kind = match.lastgroup
        whole = match[0]
        if match["text"]:
            found += _inner(match["text"].split("{", 1)[0].strip().lstrip("\\"), match["inner"])
        elif match["env"]:
            found.append(
                ("\\begin" if whole.startswith("\\begin") else "\\end") + "{matrix}"
                if "matrix" in whole or "array" in whole
                else whole
            )
        elif match["command"]:
            found += _command(whole)
        elif match["word"]:
            found += _word(whole)
        elif kind == "power":
            found.append("^")
        elif kind == "relation":
            found.append({"<=": "\\le", ">=": "\\ge", "!=": "\\ne", "==": "="}[whole])
        elif kind == "space":
            if found and found[-1] != " ":
                found.append(" ")
        else:
            found.append(whole)
    return _spaces(found)


def _spaces(found: list[str]) -> list[str]:
    """Spaces go, except between two numbers, where they tell `1 1/2` from `11/2`."""
    kept: list[str] = []
    for at, one in enumerate(found):
        if one == " ":
            after = found[at + 1] if at + 1 < len(found) else ""
            if not (kept and kept[-1][-1:].isdigit() and after[:1].isdigit()):
                continue
        kept.append(one)
    return kept


def _command(whole: str) -> list[str]:
    name = _SAME.get(whole[1:], whole[1:])
    if name in ("<", ">", "|", "[", "]", "i"):
        return [name]
    return [] if name in _STYLES and name != "mathbb" else ["\\" + name]


def _word(whole: str) -> list[str]:
    """A run of letters: a known name, names before and after single letters (`xpi` is left alone), or letters."""
    low = whole if whole in ("pi", "e", "i") else whole.lower()
    if whole in FUNCTIONS or low in FUNCTIONS:
        return ["\\" + low]
    if low in _WORDS:
        return [_WORDS[low]]
    for known in ("sqrt", "sin", "cos", "tan", "pi", "ln", "log"):
        if whole.startswith(known) and len(whole) - len(known) == 1:  # sinx, pir
            return [_WORDS.get(known, "\\" + known), whole[len(known) :]]
        if known != "ln" and whole.endswith(known) and len(whole) - len(known) == 1:  # xsin, rpi
            return [whole[: -len(known)], _WORDS.get(known, "\\" + known)]
    return list(whole) if len(whole) <= 3 else ['"' + whole.lower()]


def _inner(style: str, inner: str) -> list[str]:
    """What a text command holds: a name, a sum of its own (`\\text{2/3}`), or words."""
    bare = inner.strip()
    if style == "mathbb":
        return ["\\mathbb" + bare]
    if not bare:
        return []
    low = bare.lower().strip(" ,")
    if low in FUNCTIONS:
        return ["\\" + low]
    if low in ("and", "or"):
        return ["\\" + low]
    if low in ("percent", "percentage", "pct", "%", "\\%"):
        return ["\\%"]
    if low in ("degree", "degrees"):
        return ["\\degrees"]
    if style == "boxed" or not any(one.isalpha() for one in bare) or bare.startswith("\\"):
        return tokens(bare)
    if len(bare) == 1:
        return [bare]
    formula = any(one in "+-*/=^_()<>0123456789" for one in bare) and not _PROSE.search(bare)
    if formula and not _UNIT.fullmatch(bare):
        return tokens(bare)
    return ['"' + " ".join(low.strip("().").split())]


_KNOWN = (
    {"\\" + name for name in FUNCTIONS | GREEK}
    | {sign for sign in OPEN | CLOSE if sign.startswith("\\")}
    | set(_WORDS.values())
    | {
        "\\frac",
        "\\binom",
        "\\%",
        "\\&",
        "\\\\",
        "\\circ",
        "\\cdot",
        "\\times",
        "\\div",
        "\\pm",
        "\\mp",
        "\\le",
        "\\ge",
    }
    | {"\\ne", "\\in", "\\approx", "\\simeq", "\\sim", "\\equiv", "\\to", "\\cup", "\\cap", "\\setminus", "\\backslash"}
    | {"\\emptyset", "\\dots", "\\vec", "\\hat", "\\overrightarrow", "\\int", "\\sum", "\\prod", "\\lim"}
    | {"\\begin{matrix}", "\\end{matrix}"}
)


def strange(parts: list[str]) -> str:
    """Why no reader can make anything of these tokens, as far as that is plain; nothing otherwise. Linear."""
    depth = 0
    for part in parts:
        if part in OPEN:
            depth += 1
        elif part in CLOSE:
            depth -= 1
        elif part.startswith("\\"):
            if part not in _KNOWN and not part.startswith("\\mathbb"):
                return f"{part[:20]} is not known"
        elif len(part) == 1 and not (part.isascii() and part.isprintable()):
            return "a sign that is not known"
        elif part in "`@#~?$":
            return f"{part} is not known"
    return "brackets that do not match" if depth and not {"]", "["} & set(parts) else ""
