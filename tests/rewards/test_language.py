"""Words of the target language over all words: real sentences, with code and formulas among them."""

from __future__ import annotations

import importlib
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ponder.core.errors import PonderError
from ponder.core.types import Completion, Problem
from ponder.rewards import compose, language, parts_of
from ponder.rewards import detector as detecting
from ponder.rewards.language import LANGUAGES, check_language, share_of_language, words_by_language
from ponder.rewards.plain import open_ends, prose

SAID = {
    "en": "First we add the two numbers. So the answer is three. Let me check this once more.",
    "de": "Zuerst addieren wir die beiden Zahlen. Also ist die Antwort drei. Ich prüfe das noch einmal.",
    "es": "Primero sumamos los dos números. Entonces la respuesta es tres. Voy a comprobarlo otra vez.",
    "fr": "D'abord, on additionne les deux nombres. Donc la réponse est trois. Je vérifie encore une fois.",
    "it": "Prima sommiamo i due numeri. Quindi la risposta è tre. Adesso lo controllo ancora una volta.",
    "pt": "Primeiro somamos os dois números. Portanto a resposta é três. Vou verificar isto outra vez.",
    "pl": "Najpierw dodajemy dwie liczby. Zatem odpowiedź to trzy. Sprawdzę to jeszcze raz.",
    "tr": "Önce iki sayıyı toplarız. Yani cevap üçtür. Bir kez daha kontrol edelim.",
    "ru": "Сначала мы сложим два числа. Поэтому ответ равен трём. Проверим это ещё раз.",
    "uk": "Спочатку додамо два числа. Отже, відповідь дорівнює трьом. Перевіримо це ще раз.",
    "zh": "首先我们把两个数相加。所以答案是三。让我再检查一遍。",
    "ja": "まず二つの数を足します。したがって答えは三です。もう一度確認します。",
    "ko": "먼저 두 수를 더합니다. 따라서 답은 삼입니다. 다시 확인합니다.",
    "ar": "أولا نجمع العددين. إذن الجواب هو ثلاثة. سأتحقق مرة أخرى.",
    "hi": "पहले हम दोनों संख्याओं को जोड़ते हैं। इसलिए उत्तर तीन है।",
    "el": "Πρώτα προσθέτουμε τους δύο αριθμούς. Άρα η απάντηση είναι τρία.",
    "th": "ก่อนอื่นเราบวกสองจำนวน ดังนั้นคำตอบคือสาม",
}  # fmt: skip

CODE = "```python\nfor the in these: print('wir prüfen die Zahl und das ist nicht richtig')  # 检查 答案\n```"
FORMULAS = (
    r"$\text{the answer}_{und}$ $$\sum_{die}^{der} the$$ \(the = und\) \[ \frac{the and}{und das} \] "
    "\\begin{align*}\nthe &= und \\\\ and &= oder\n\\end{align*} \\frac{the}{und} `wir und the`"
)
MIXED_IN = f"\n{CODE}\n{FORMULAS}\nhttps://example.org/the/answer/is/this"


# ---- what is left out ----


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("one ```two``` three", "one three"),
        ("one ```python\ntwo\n``` three", "one three"),
        ("one ```two three", "one"),
        ("one ~~~\ntwo\n~~~ three", "one three"),
        ("one `two` three", "one three"),
        ("one `two three", "one `two three"),
        ("one ``two`s`` three", "one three"),
        ("one $two$ three", "one three"),
        ("it costs $5 and not $10 here", "it costs $5 and not $10 here"),
        ("it costs \\$5 and \\$10", "it costs 5 and 10"),
        ("one $$two\n\ntwo$$ three", "one three"),
        (r"one \(two\) three", "one three"),
        (r"one \[two\] three", "one three"),
        ("one \\[two\n\nthree", "one three"),
        (r"one \begin{cases} two \\ two \end{cases} three", "one three"),
        (r"one \begin{align*} \begin{matrix} two \end{matrix} two \end{align*} three", "one three"),
        (r"\begin{proof} one $x$ three \end{proof}", "one three"),
        (r"one \frac{two}{two} three", "one three"),
        (r"one \emph{two} three", "one two} three"),
        (r"one \alpha three", "one three"),
        (r"one \boxed{two} three", "one three"),
        ("<think>one</think> <answer>two</answer>", "one two"),
        ("one https://two.org/two three", "one three"),
    ],
)
def test_prose(text: str, words: str) -> None:
    assert prose(text).split() == words.split()


@pytest.mark.parametrize("code", SAID)
def test_code_and_formulas_never_change_the_count(code: str) -> None:
    assert words_by_language(SAID[code] + MIXED_IN) == words_by_language(SAID[code])


@given(st.text(max_size=300) | st.text(alphabet="`$\\[]()~{} abegindqu\n", max_size=300))
def test_prose_is_total(text: str) -> None:
    assert len(prose(text)) <= len(text) + text.count("\\") + 1
    open_ends(text)


UNITS = [
    "`",
    "```",
    "$",
    "$$",
    "$a",
    "\\[",
    "\\(",
    "\\begin{a}",
    "\\end{a}",
    "\\a{",
    "\\begin{",
    "\\\\",
    "~~~",
    "\\text{",
    "www.",
    "`a ",
]


@pytest.mark.parametrize("unit", UNITS)
def test_prose_takes_linear_time(unit: str) -> None:
    def seconds(size: int) -> float:
        text = unit * (size // len(unit))
        best = float("inf")
        for _ in range(2):
            start = time.process_time()
            prose(text), open_ends(text)
            best = min(best, time.process_time() - start)
        return best

    assert seconds(200_000) < 40 * seconds(20_000) + 0.05


def test_many_environments_that_never_end_take_linear_time() -> None:
    text = "".join(f"\\begin{{x{chr(97 + i % 26)}{chr(97 + i // 26 % 26)}}}" for i in range(30_000))
    start = time.process_time()
    prose(text)
    assert time.process_time() - start < 1.0


# ---- by words ----


@pytest.mark.parametrize("code", [code for code in SAID if code in LANGUAGES])
def test_by_words(code: str) -> None:
    assert share_of_language(SAID[code] + MIXED_IN, code) > 0.85
    other = "de" if code != "de" else "en"
    assert share_of_language(SAID[code] + MIXED_IN, other) < 0.15
    assert 0.2 < share_of_language(SAID[code] + " " + SAID[other], code) < 0.9


def test_english_words_that_other_languages_have_too_are_no_mixing() -> None:
    said = "Two cars per row, due to a non-zero sine: the sin of it plus no more come to the son, so hay is in the car."
    assert share_of_language(said, "en") == 1.0


# ---- by the detector ----


@pytest.fixture
def langid() -> None:
    pytest.importorskip("py3langid", reason="the extra `languages` (py3langid) is not installed")


@pytest.mark.parametrize("code", SAID)
def test_by_detector(code: str, langid: None) -> None:
    assert share_of_language(SAID[code] + MIXED_IN, code, "langid") == 1.0
    other = "de" if code != "de" else "en"
    assert share_of_language(SAID[code] + MIXED_IN, other, "langid") == 0.0
    both = share_of_language(SAID[other] + " " + SAID[code], code, "langid")
    assert 0.25 < both < 0.75
    assert share_of_language(SAID[code] + SAID[other] * 4, code, "langid") < both


def test_a_change_of_language_within_a_sentence_is_seen(langid: None) -> None:
    turn = (
        "we first add the two numbers that were given and then we look at what is left over, "
        "denn danach müssen wir noch die Summe durch die Anzahl der Zahlen teilen und das Ergebnis prüfen"
    )
    assert 0.3 < share_of_language(turn, "en", "langid") < 0.7
    assert 0.6 < share_of_language("We add the two numbers, 然后我们检查, and get three", "en", "langid") < 0.95


def test_the_detector_says_the_same_every_time(langid: None) -> None:
    text = " ".join(SAID.values())
    first = words_by_language(text, "langid")
    detecting._classify.cache_clear()
    assert words_by_language(" ".join(SAID.values()), "langid") == first


@settings(deadline=None)
@given(st.text(max_size=200))
def test_the_detector_is_total(text: str) -> None:
    pytest.importorskip("py3langid", reason="the extra `languages` (py3langid) is not installed")
    assert 0.0 <= share_of_language(text, "pt", "langid") <= 1.0


def test_every_code_is_one_of_the_detectors(langid: None) -> None:
    assert set(detecting.CODES) <= set(detecting.identifier().nb_classes)


# ---- which of them ----


def test_the_embedded_languages_never_load_the_detector(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> Any:
        raise AssertionError("loaded")

    monkeypatch.setattr(detecting, "identifier", refuse)
    problems = [Problem("sums", "1+1?", "2", {"lang": code}) for code in ("en", "de")]
    said = [Completion((1,), (2,), (), SAID[code], "stop") for code in ("en", "de")]
    assert [score.value for score in language(problems, said)] == [1.0, 1.0]
    with pytest.raises(AssertionError, match="loaded"):
        language(problems, said, target="pt")


def test_without_the_detector_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    detecting.identifier.cache_clear()
    load = importlib.import_module

    def absent(name: str, *more: Any) -> Any:
        if name.startswith("py3langid"):
            raise ImportError(name)
        return load(name, *more)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(PonderError, match=r"pip install 'ponder\[languages\]'"):
        parts_of([{"name": "language", "target": "pt"}])  # before any answer is graded
    with pytest.raises(PonderError, match=r"pip install 'ponder\[languages\]'"):
        parts_of([{"name": "readability", "detector": "langid"}])
    assert parts_of([{"name": "language", "target": "de"}])
    detecting.identifier.cache_clear()


@pytest.mark.parametrize("options", [{"target": "klingon"}, {"target": "pt", "detector": "words"}])
def test_a_language_that_cannot_be_told_is_refused_at_once(options: dict[str, str]) -> None:
    with pytest.raises(PonderError, match="cannot be told; target is one of"):
        parts_of([{"name": "language", **options}])


def test_auto_is_words_where_they_can_tell() -> None:
    assert all(check_language(code) == "words" for code in LANGUAGES)


def test_the_quick_way_is_quick() -> None:
    """A thousand tokens of thought in well under the time a token takes to sample."""
    text = "So we check the number again and then we are right. " * 90
    reward = compose(parts_of(["language"]))
    said = [Completion((1,), (2,), (), text, "stop")]
    start = time.process_time()
    for _ in range(20):
        reward([Problem("sums", "?", "")], said)
    assert (time.process_time() - start) / 20 < 0.02
