"""Tokens read as an answer: numbers, expressions, relations, intervals, sets, matrices, lists, quantities with units.

A node is a tuple whose first member is its kind:

    ("num", Fraction, digits)   digits: significant digits of a decimal, 0 for a whole number or a fraction
    ("huge", digits)            a whole number of more than MAX_DIGITS digits
    ("sym", name)  ("const", name)  ("text", words)  ("dots",)  ("base", digits, base)
    ("neg", a)  ("+", a, b)  ("-", a, b)  ("*", a, b)  ("/", a, b)  ("^", a, b)  ("pm", a, b)  ("mp", a, b)
    ("fun", name, argument, base or None)  ("root", degree, a)  ("binom", n, k)  ("abs", a)  ("!", a)  ("deg", a)
    ("list", items, glue)  ("tuple", opening, items, closing)  ("set", items)  ("matrix", rows)  ("ratio", items)
    ("rel", (a, "=", b, "<=", c))  ("cup", a, b)  ("cap", a, b)  ("setminus", a, b)  ("unit", a, name)

The reader is a recursive descent over at most latex.MAX_TOKENS tokens, MAX_DEPTH deep, MAX_LINKS factors in
all: linear in the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from ponder.verify.latex import Token, Unreadable, tokens
from ponder.verify.units import KNOWN, unit_name

Node = tuple[Any, ...]
MAX_DEPTH = 40
MAX_LINKS = 300
MAX_DIGITS = 4000
_MATRICES = {"matrix", "pmatrix", "bmatrix", "Bmatrix", "smallmatrix", "array", "vmatrix", "Vmatrix"}
_ROWS = {"aligned", "align", "cases", "gathered", "gather", "split", "equation", "eqnarray", "alignat", "alignedat"}
_ATOM_KINDS = {"num", "sym", "const", "fun"}
_ATOM_COMMANDS = {"frac", "sqrt", "binom", "overline", "bar"}


def read(text: str, thousands: bool = True, decimal_comma: bool = False) -> Node:
    """The answer in `text`. Raises Unreadable where it is no mathematics that this reader knows."""
    return read_tokens(tokens(text, thousands, decimal_comma))


def read_tokens(found: Sequence[Token]) -> Node:
    """As `read`, from tokens."""
    if not found:
        raise Unreadable("empty")
    reader = _Reader(_without_doubles(found))
    node = reader.sequence()
    if reader.at < len(reader.toks):
        raise Unreadable(f"unexpected {reader.toks[reader.at].value!r}")
    return node


def _without_doubles(found: Sequence[Token]) -> list[Token]:
    """Without brackets that stand directly in brackets of the same kind: `((x))` is `(x)`, however deep."""
    partner: dict[int, int] = {}
    stack: list[int] = []
    for place, token in enumerate(found):
        if token.kind == "open" and token.value in "({":
            stack.append(place)
        elif token.kind == "close" and token.value in ")}" and stack:
            partner[stack.pop()] = place
    drop: set[int] = set()
    for start, end in partner.items():
        inner = partner.get(start + 1)
        if inner is not None and inner == end - 1 and found[start].value == found[start + 1].value:
            drop.update((start, end))
    return [token for place, token in enumerate(found) if place not in drop] if drop else list(found)


class _Reader:
    def __init__(self, toks: list[Token]) -> None:
        self.toks, self.at, self.depth, self.bars, self.links = toks, 0, 0, 0, 0
        self.barred = False  # whether a bar ends what is being read
        squares = [t.value for t in toks if t.value in ("[", "]") and t.kind in ("open", "close")]
        # ]1,2[ and [1,2[: there a square bracket never multiplies
        self.french = bool(squares) and (squares[0] == "]" or squares.count("[") != squares.count("]"))

    def peek(self, ahead: int = 0) -> Token:
        place = self.at + ahead
        return self.toks[place] if place < len(self.toks) else _END

    def take(self) -> Token:
        token = self.peek()
        self.at += 1
        return token

    def next_is(self, kind: str, *values: str) -> bool:
        token = self.peek()
        return token.kind == kind and (not values or token.value in values)

    # ---- sequences ----

    def sequence(self, rows: bool = False) -> Node:
        """Items up to a closing sign, which is left where it is."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Unreadable("nested too deeply")
        groups: list[list[Node]] = [[]]
        glues: set[str] = set()
        while True:
            token = self.peek()
            if token is _END or token.kind == "close" and not self.opens_here(token):
                break
            if self.french and token.kind == "open" and token.value == "[" and groups[-1] and not self.after_sep():
                break
            if self.bars and token.value == "|" and groups[-1]:
                break
            if token.kind == "mark" and token.value == "|" and groups[-1]:
                break
            if token.kind == "sep":
                self.at += 1
                if token.value in (";", "row") and groups[-1]:
                    groups.append([])
                elif token.value in ("and", "or", ","):
                    glues.add(token.value)
                continue
            if groups[-1] and not self.after_sep():
                raise Unreadable(f"unexpected {token.value!r}")
            groups[-1].append(self.item())
        self.depth -= 1
        groups = [group for group in groups if group]
        if not groups:
            return ("list", (), "")
        glue = "or" if "or" in glues else "and" if "and" in glues else ","
        if len(groups) == 1:
            return groups[0][0] if len(groups[0]) == 1 else ("list", tuple(groups[0]), glue)
        parts = [group[0] if len(group) == 1 else ("list", tuple(group), glue) for group in groups]
        return ("list", tuple(parts), ";")

    def after_sep(self) -> bool:
        return self.at > 0 and self.toks[self.at - 1].kind == "sep"

    def opens_here(self, token: Token) -> bool:
        begins = self.at == 0 or self.toks[self.at - 1].kind in ("sep", "rel", "op")
        return token.value == "]" and self.french and begins

    def item(self) -> Node:
        if self.next_is("rel"):
            self.at += 1  # `= 5`
        parts: list[Any] = [self.operand()]
        while self.next_is("rel"):
            relation = self.take().value
            if relation in ("=", "~") and self.next_is("rel"):
                continue
            parts += [relation, self.operand()]
        return parts[0] if len(parts) == 1 else ("rel", tuple(parts))

    def operand(self) -> Node:
        node = self.ratio()
        while self.next_is("op", "cup", "cap", "setminus"):
            node = (self.take().value, node, self.ratio())
        return node

    def ratio(self) -> Node:
        node = self.sum()
        if not (self.next_is("mark", ":") and self.starts_atom(self.peek(1))):
            return node
        items = [node]
        while self.next_is("mark", ":"):
            self.at += 1
            items.append(self.sum())
        return ("ratio", tuple(items))

    # ---- arithmetic ----

    def sum(self) -> Node:
        if self.next_is("op", "pm", "mp"):
            node: Node = (self.take().value, ("num", Fraction(0), 0), self.product())
        else:
            node = self.product()
        while self.next_is("op", "+", "-", "pm", "mp"):
            node = (self.take().value, node, self.product())
        return node

    def product(self) -> Node:
        sign = 1
        while self.next_is("op", "+", "-"):
            sign = -sign if self.take().value == "-" else sign
        node = self.factor()
        while True:
            token = self.peek()
            if token.kind == "op" and token.value in ("*", "/"):
                self.at += 1
                if self.next_is("text") and token.value == "/":  # `5 / \text{h}`
                    node = ("unit", node, "/" + self.unit())
                    continue
                minus = 0
                while self.next_is("op", "+", "-"):
                    minus += self.take().value == "-"
                right = self.factor()
                node = (token.value, node, ("neg", right) if minus % 2 else right)
            elif token.kind == "cmd" and token.value == "choose":
                self.at += 1
                node = ("binom", node, self.factor())
            elif token.kind == "cmd" and token.value in ("pmod", "bmod", "mod"):
                self.at += 1
                node = ("unit", node, f"mod {_spell(self.factor())}")
            elif self.is_unit(token):
                unit = self.unit()
                node = ("unit", node, unit) if unit else node
            elif self.starts_atom(token) and not (token.value == "|" and self.bars):
                right = self.factor()
                node = self.beside(node, right, token)
            else:
                break
        return node if sign > 0 else _negative(node)

    def beside(self, left: Node, right: Node, token: Token) -> Node:
        """Two factors with no sign between: a mixed number, or a product."""
        whole = left[0] == "num" and left[2] == 0 and left[1].denominator == 1
        fraction = right[0] == "/" and right[1][0] == right[2][0] == "num" and token.kind == "cmd"
        if whole and fraction and right[1][1] < right[2][1]:
            return ("+", left, right)
        if whole and right[0] == "num":
            following = self.peek()
            if following.kind == "op" and following.value == "/" and self.peek(1).kind == "num" and token.spaced:
                self.at += 1
                return ("+", left, ("/", right, self.factor()))
            raise Unreadable("two numbers side by side")
        return ("*", left, right)

    def starts_atom(self, token: Token) -> bool:
        if token.kind in _ATOM_KINDS or (token.kind == "cmd" and token.value in _ATOM_COMMANDS):
            return True
        if token.kind == "open":
            return not (self.french and token.value == "[")
        return (
            token.kind in ("word", "text")
            or (token == _BAR and not self.barred)
            or (token.kind == "unit" and token.value != "%")
        )

    def is_unit(self, token: Token) -> bool:
        if token.kind in ("text", "unit"):
            return True
        return token.kind == "word" and (token.value in KNOWN or token.value.lower() in KNOWN or len(token.value) > 2)

    def unit(self) -> str:
        """Text, known units, powers and bars: `km/h`, `cm ^ 2`, `square inches`."""
        words: list[str] = []
        while True:
            token = self.peek()
            following = self.peek(1)
            if token.kind in ("text", "word", "unit") or (token.kind == "sym" and words and token.spaced):
                self.at += 1
                words.append(token.value)
            elif token.value == "/" and following.kind in ("text", "word", "unit", "sym") and words:
                self.at += 1
                words.append("/")
                if following.kind == "sym":
                    self.at += 1
                    words.append(following.value)
            elif token.value == "^" and words:
                self.at += 1
                words.append("^" + _spell(self.argument()))
            elif token.value in (".", "'") and words:
                self.at += 1
            else:
                return unit_name(words)

    def factor(self) -> Node:
        self.links += 1
        if self.links > MAX_LINKS:
            raise Unreadable("too many terms")
        start = self.peek()
        node = self.atom()
        while True:
            token = self.peek()
            if token.kind != "op" and not (token.kind == "mark" and token.value == "'"):
                return node
            if token.value == "^":
                self.at += 1
                node = self.power(node)
            elif token.value == "_":
                self.at += 1
                node = self.subscript(node, start)
            elif token.value == "!":
                self.at += 1
                node = ("!", node)
            elif token.value in ("degree", "circ"):
                self.at += 1
                node = self.degree(node)
            elif token.value == "'" and node[0] == "sym":
                self.at += 1
                node = ("sym", node[1] + "'")
            else:
                return node

    def degree(self, node: Node) -> Node:
        token = self.peek()
        if token.value in ("C", "F"):
            self.at += 1
            return ("unit", node, "deg" + token.value)
        return ("deg", node)

    def power(self, node: Node) -> Node:
        if self.next_is("op", "circ", "degree"):
            self.at += 1
            return self.degree(node)
        token, inner = self.peek(), self.peek(1)
        if token.value == "{":
            if inner.value in ("circ", "degree") and self.peek(2).value == "}":
                self.at += 3
                return self.degree(node)
            if inner.kind in ("word", "text") and inner.value in _ORDINALS and self.peek(2).value == "}":
                self.at += 3
                return node
            if inner.value in ("T", "top") and node[0] == "matrix" and self.peek(2).value == "}":
                self.at += 3
                return ("matrix", tuple(zip(*node[1], strict=True)))
        elif token.kind in ("word", "text") and token.value in _ORDINALS:
            self.at += 1
            return node
        elif token.value == "T" and node[0] == "matrix":
            self.at += 1
            return ("matrix", tuple(zip(*node[1], strict=True)))
        minus = 0
        while self.next_is("op", "+", "-"):
            minus += self.take().value == "-"
        exponent = self.argument()
        if self.next_is("op", "^"):
            self.at += 1
            exponent = self.power(exponent)
        return ("^", node, ("neg", exponent) if minus % 2 else exponent)

    def subscript(self, node: Node, start: Token) -> Node:
        begun = self.at
        below = self.argument()
        if node[0] == "num" and below[0] == "num" and below[1].denominator == 1 and 2 <= below[1] <= 64:
            return ("base", start.value if start.kind == "num" else str(node[1]), int(below[1]))
        if node[0] == "sym":
            spelled = "".join(t.value for t in self.toks[begun : self.at] if t.value not in "{}")
            return ("sym", f"{node[1]}_{spelled}")
        if node[0] in ("text", "*"):
            return ("*", node, ("sym", "_" + "".join(t.value for t in self.toks[begun : self.at])))
        raise Unreadable("a subscript")

    def argument(self, split: bool = False) -> Node:
        """What a command takes: a braced group, or the next sign. split: of `34` only the `3`, as LaTeX has it."""
        token = self.peek()
        if token.value == "{" and token.kind == "open":
            return self.group()
        if split and token.kind == "num" and token.value.isdigit() and len(token.value) > 1:
            self.toks[self.at] = Token("num", token.value[1:])
            return ("num", Fraction(int(token.value[0])), 0)
        return self.atom()

    def group(self) -> Node:
        self.at += 1
        node = self.sequence()
        if self.take().value != "}":
            raise Unreadable("a brace is not closed")
        return ("set", node[1]) if node[0] == "list" else node

    # ---- atoms ----

    def atom(self) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH * 2:
            raise Unreadable("nested too deeply")
        node = self.atom_inside()
        self.depth -= 1
        return node

    def atom_inside(self) -> Node:
        token = self.peek()
        kind, value = token.kind, token.value
        if kind == "num":
            self.at += 1
            return number(value)
        if kind == "sym":
            self.at += 1
            return ("sym", value)
        if kind == "const":
            self.at += 1
            return ("set", ()) if value == "empty" else ("const", value)
        if kind == "cmd":
            return self.command()
        if kind == "fun":
            return self.function()
        if kind in ("text", "word"):
            return self.words()
        if kind == "unit" and value != "%":  # `$5`
            self.at += 1
            minus = False
            while self.next_is("op", "-"):
                minus, self.at = not minus, self.at + 1
            node = self.atom()
            return ("unit", _negative(node) if minus else node, value)
        if token == _BAR:
            self.at += 1
            self.bars += 1
            node = self.operand()
            self.bars -= 1
            if self.take() != _BAR:
                raise Unreadable("a bar is not closed")
            return ("abs", node)
        if kind == "mark" and value == "...":
            self.at += 1
            return ("dots",)
        if kind == "open" or self.opens_here(token):
            return self.bracket()
        if kind == "op" and value in ("-", "+"):
            self.at += 1
            return _negative(self.atom()) if value == "-" else self.atom()
        raise Unreadable(f"unexpected {value!r}" if token is not _END else "ends too soon")

    def words(self) -> Node:
        first = self.take()
        words = [first.value]
        while self.peek().kind in ("text", "word") or self.letter_in_words():
            words.append(self.take().value)
        following = self.peek()
        if following.kind == "mark" and following.value == ":" and self.starts_atom(self.peek(1)):
            self.at += 1
            following = self.peek()
        spelled = " ".join(words)
        if following.kind == "open" and len(spelled) < 4:
            return ("text", spelled)
        if self.starts_atom(following) and following.kind not in ("text", "word") and following != _BAR:
            return self.sum()  # `The answer is 42`
        if following.kind == "op" and following.value == "-" and " " in spelled:
            return self.sum()
        return ("text", spelled)

    def letter_in_words(self) -> bool:
        token = self.peek()
        in_words = self.peek(1).kind in ("word", "text", "end", "close")
        return token.kind in ("sym", "const") and token.spaced and in_words

    def command(self) -> Node:
        name = self.take().value
        if name == "frac":
            top = self.argument(split=True)
            return ("/", top, self.argument(split=True))
        if name == "binom":
            top = self.argument(split=True)
            return ("binom", top, self.argument(split=True))
        if name == "sqrt":
            degree: Node = ("num", Fraction(2), 0)
            if self.next_is("open", "["):
                self.at += 1
                degree = self.sequence()
                if self.take().value != "]":
                    raise Unreadable("a root's degree is not closed")
            return ("root", degree, self.argument())
        if name in ("overline", "bar"):
            inside = self.argument()
            return ("sym", f"bar({_spell(inside)})")
        raise Unreadable(f"unexpected \\{name}")

    def function(self) -> Node:
        name = self.take().value
        base: Node | None = None
        if name == "lg":
            name, base = "log", ("num", Fraction(10), 0)
        exponent: Node | None = None
        for _ in range(2):
            if self.next_is("op", "_"):
                self.at += 1
                base = self.argument()
            elif self.next_is("op", "^"):
                self.at += 1
                minus = self.next_is("op", "-")
                self.at += minus
                exponent = _negative(self.argument()) if minus else self.argument()
        if self.peek().kind == "open" and self.peek().value in ("(", "{", "["):
            argument = self.bracket()
        else:
            argument = self.factor()
            while self.peek().kind in ("num", "sym", "const") or self.next_is("cmd", "frac", "sqrt"):
                argument = ("*", argument, self.factor())
        if exponent == ("num", Fraction(-1), 0) and name in ("sin", "cos", "tan"):
            return ("fun", "a" + name, argument, None)
        node = ("fun", name, argument, base)
        return node if exponent is None else ("^", node, exponent)

    def bracket(self) -> Node:
        token = self.take()
        value = token.value
        if value.startswith("begin:"):
            return self.environment(value[6:])
        if value == "set{" and self.bars_ahead() == 1:
            return self.builder()
        node = self.sequence()
        if value == "set{" and node[0] == "rel" and node[1][0][0] == "ratio" and len(node[1][0][1]) == 2:
            if self.take().value != "set}":
                raise Unreadable("a set is not closed")
            return ("rel", (node[1][0][1][1], *node[1][1:]))  # {x : x > 2}
        closing = self.take()
        if value == "{":
            if closing.value != "}":
                raise Unreadable("a brace is not closed")
            return ("set", node[1]) if node[0] == "list" else node
        if value in ("floor", "ceil"):
            if closing.value != value:
                raise Unreadable("a bracket is not closed")
            return ("fun", value, node, None)
        if value == "set{":
            if closing.value != "set}":
                raise Unreadable("a set is not closed")
            return ("set", node[1] if node[0] == "list" else (node,))
        if value == "<":
            if closing.value != ">":
                raise Unreadable("a vector is not closed")
            return ("tuple", "(", node[1] if node[0] == "list" else (node,), ")")
        if value not in ("(", "[", "]") or closing.value not in (")", "]", "["):
            raise Unreadable("brackets do not match")
        if node[0] != "list":
            if value == "(" and closing.value == ")" or value == "[" and closing.value == "]":
                return node
            raise Unreadable("brackets do not match")
        opening = "(" if value == "]" else value
        end = ")" if closing.value == "[" else closing.value
        return ("tuple", opening, node[1], end)

    def bars_ahead(self) -> int:
        """How many bars stand before the set that was just opened is closed."""
        depth, found = 0, 0
        for place in range(self.at, len(self.toks)):
            token = self.toks[place]
            depth += (token.value == "set{") - (token.value == "set}")
            if depth < 0:
                break
            found += token == _BAR
        return found

    def builder(self) -> Node:
        """`{x | x > 2}`: the condition stands for the set."""
        self.barred = True
        self.sequence()
        self.barred = False
        self.at += 1
        node = self.sequence()
        if self.take().value != "set}":
            raise Unreadable("a set is not closed")
        return node

    def environment(self, kind: str) -> Node:
        if kind in _MATRICES:
            rows: list[tuple[Node, ...]] = []
            row: list[Node] = []
            while not self.next_is("close"):
                if self.peek() is _END:
                    raise Unreadable("a matrix is not closed")
                if self.next_is("sep"):
                    if self.take().value == "row" and row:
                        rows.append(tuple(row))
                        row = []
                    continue
                row.append(self.item())
            self.at += 1
            if row:
                rows.append(tuple(row))
            if not rows or len({len(r) for r in rows}) != 1:
                raise Unreadable("a ragged matrix")
            if kind == "vmatrix":
                return ("fun", "det", ("matrix", tuple(rows)), None)
            return ("matrix", tuple(rows))
        if kind not in _ROWS:
            raise Unreadable(f"unexpected environment {kind}")
        depth = 0
        for place in range(self.at, len(self.toks)):  # the marks of alignment are no part of the mathematics
            value = self.toks[place].value
            depth += value.startswith("begin:") - value.startswith("end:")
            if depth < 0:
                inside = [t for t in self.toks[self.at : place] if t.value != "&"]
                self.at = place + 1
                return read_tokens(inside)
        raise Unreadable("an environment is not closed")


_END = Token("end", "")
_BAR = Token("mark", "|")
_ORDINALS = {"th", "st", "nd", "rd"}


def number(text: str) -> Node:
    """The exact value of a number token: `12`, `.5`, `1.0e3`, `0.1(6)`."""
    if len(text) > MAX_DIGITS:
        if text.isdigit() and len(text.lstrip("0")) > MAX_DIGITS:
            return ("huge", text.lstrip("0"))
        raise Unreadable("a number has too many digits")
    if "(" in text:
        head, _, rest = text.partition("(")
        repeated = rest.rstrip(")")
        fixed = head.partition(".")[2]
        tail = Fraction(int(repeated), (10 ** len(repeated) - 1) * 10 ** len(fixed))
        return ("num", Fraction(head.rstrip(".") or "0") + tail, 0)
    digits = len(text.partition("e")[0].replace(".", "").lstrip("0")) if "." in text or "e" in text else 0
    return ("num", Fraction(text), digits)


def _negative(node: Node) -> Node:
    if node[0] == "num":
        return ("num", -node[1], node[2])
    if node[0] == "unit":
        return ("unit", _negative(node[1]), node[2])
    if node[0] == "deg":
        return ("deg", _negative(node[1]))
    return ("neg", node)


def _spell(node: Node) -> str:
    return str(node[1]) if node[0] in ("num", "sym", "const", "text") else str(node)
