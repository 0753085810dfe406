"""The 25 instructions of IFEval: right, wrong and edge responses for each, strict and loose."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ponder.core.errors import PonderError
from ponder.verify.instructions import INSTRUCTIONS, loose_variants, verify_instructions
from ponder.verify.instructions import forms as shapes
from ponder.verify.instructions.language import detect
from ponder.verify.instructions.sentences import count_capital_words, count_sentences, count_words

AT_LEAST, LESS = "at least", "less than"
SPANISH = "Hola, ¿cómo estás? Hoy hace muy buen tiempo en la ciudad y todos están contentos."

# instruction, its arguments, responses that follow it, responses that do not
CASES: list[tuple[str, dict[str, Any], list[str], list[str]]] = [
    ("change_case:capital_word_frequency", {"capital_frequency": 2, "capital_relation": AT_LEAST},
     ["NASA and ESA", "I think I know", "I'M late", "CANNOT", "TOP-NOTCH DEAL", "*GO* now, *YES*"],
     ["NASA and esa", "none", "TOP-NOTCH", "123 456"]),
    ("change_case:capital_word_frequency", {"capital_frequency": 2, "capital_relation": LESS},
     ["NASA only", "none"], ["NASA ESA", "I and I"]),
    ("change_case:english_capital", {},
     ["HELLO, THIS IS A LETTER TO MY FRIEND.", "WELCOME TO 2024!"],
     ["Hello there my friend", "HOLA, ¿CÓMO ESTÁS? HOY HACE MUY BUEN TIEMPO EN LA CIUDAD.", "1234", "HELLO THERe"]),
    ("change_case:english_lowercase", {},
     ["hello, this is a letter to my friend.", "it is 5 pm."], ["Hello there my friend", SPANISH.lower(), "1234"]),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Write a poem. "},
     ["Write a poem. Roses are red.", "write a POEM.\nRoses", "\n Write a poem."],
     ["Sure! Write a poem.", "Write a poem, please", "Write"]),
    ("combination:two_responses", {},
     ["One.\n******\nTwo.", "******One******Two", "One****** Two******"],
     ["One.", "One******One", "One******Two******Three", "One************Two", "One*****Two", "******One"]),
    ("detectable_content:number_placeholders", {"num_placeholders": 2},
     ["[name] and [address]", "[a][b]", "[[x]] [ ]", "[a] [b] [c]"], ["[name]", "[a\nb] [c]", "(name) [x", "]["]),
    ("detectable_content:postscript", {"postscript_marker": "P.S."},
     ["Bye\nP.S. I love you", "bye p. s. x", "x P.P.S. y P.S. z"], ["Bye PS hello", "P.S", "P.P.S"]),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"},
     ["Bye\nP.P.S. hm", "p. p. s", "P.P.S"], ["P.S. hm", "PPS"]),
    ("detectable_format:constrained_response", {},
     ["My answer is yes.", " My answer is maybe. Because.", "Well: My answer is no."],
     ["my answer is yes.", "My answer is yes", "Yes."]),
    ("detectable_format:json_format", {},
     ['{"a": 1}', '```json\n{"a": [1, 2]}\n```', "```\n[]\n```", '  "text" ', "3"],
     ["{'a': 1}", '{"a": 1} ok', '```json\n{"a": 1}\n``` done', "plain", "[" * 100_000]),
    ("detectable_format:multiple_sections", {"section_spliter": "SECTION", "num_sections": 2},
     ["SECTION 1\na\nSECTION 2\nb", "SECTION1 SECTION 2", "xSECTION 1 SECTION 2 SECTION 3"],
     ["SECTION 1", "Section 1 Section 2", "SECTION one SECTION two"]),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2},
     ["* a\n* b", "- a\n- b", "text\n  * a\n\n- b", "*a\n*b", "* a\n* b\n** c"],
     ["* a", "* a\n* b\n* c", "• a\n• b", "1. a\n2. b", "* a\n* b\n---"]),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2},
     ["*a* and *b*", "**a** text **b**", "*a* **b**", "*a* *b* *c*"],
     ["*a*", "**a", "* *  **", "*a\nb* *c", "_a_ _b_"]),
    ("detectable_format:title", {},
     ["<<joy>>\ntext", "x <<a b>> y", "<<<deep>>>"], ["<joy>", "<<>>", "<< >>", "<<a\nb>>"]),
    ("keywords:existence", {"keywords": ["cat", "dog"]},
     ["A cat and a dog", "CATALOGUE of Dogs"], ["a cat", "dog", "c a t dog"]),
    ("keywords:forbidden_words", {"forbidden_words": ["can", "ride"]},
     ["canned rides", "nothing here"], ["I can", "Ride!", "you CAN go", "can-do"]),
    ("keywords:frequency", {"keyword": "war", "frequency": 2, "relation": AT_LEAST},
     ["war and War", "warwar", "towards the war"], ["war", "peace"]),
    ("keywords:frequency", {"keyword": " war", "frequency": 1, "relation": LESS}, ["peace"], ["war", "Award"]),
    ("keywords:letter_frequency", {"letter": "q", "let_frequency": 2, "let_relation": AT_LEAST},
     ["Quick quiz", "qq"], ["quick", "none"]),
    ("keywords:letter_frequency", {"letter": "!", "let_frequency": 1, "let_relation": LESS}, ["calm"], ["wow!"]),
    ("language:response_language", {"language": "de"},
     ["Guten Tag, wie geht es Ihnen heute?", "123", "Das ist ein schöner Tag, sagte der Mann."],
     ["Good day, how are you today?", SPANISH, "Добрый день, как дела сегодня?"]),
    ("language:response_language", {"language": "hi"},
     ["यह एक अच्छा दिन है और हम खुश हैं।"], ["हा एक चांगला दिवस आहे आणि आम्ही आनंदी आहोत.", "This is a good day."]),
    ("length_constraints:nth_paragraph_first_word", {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "Elm"},
     ["One.\n\nElm trees.", "One.\n\n\"elm\" trees.", "One\n\nElm, yes", "One\n\nelm's\n\n"],
     ["Elm.\n\nOne.", "One.\nElm trees.", "One\n\nElm\n\nThree", "One\n\nElmtree", "One"]),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2},
     ["a\n***\nb", "***\na\n***\nb\n***", "a *** b"], ["a", "a\n\nb", "a***b***c", "a******b"]),
    ("length_constraints:number_sentences", {"num_sentences": 3, "relation": LESS},
     ["One. Two.", "Mr. Smith met Dr. Jones at 5 p.m. yesterday.", "Wow!!! Great.", "No stop at all"],
     ["One. Two. Three.", "A? B! C.", "1. First item. 2. Second item."]),
    ("length_constraints:number_sentences", {"num_sentences": 2, "relation": AT_LEAST},
     ["One. Two", "He said \"Go.\" Then left.", "Really?! Yes."], ["One.", "Pi is 3.14 or so"]),
    ("length_constraints:number_words", {"num_words": 3, "relation": AT_LEAST},
     ["one two three", "don't go", "a-b-c"], ["one two", "!!! ???"]),
    ("length_constraints:number_words", {"num_words": 3, "relation": LESS}, ["one two"], ["one two three"]),
    ("punctuation:no_comma", {}, ["no commas here; none", "un point、"], ["one, two", ","]),
    ("startend:end_checker", {"end_phrase": "Peace!"},
     ["So long. Peace!", "So long. PEACE!\n", '"So long. Peace!"'], ["Peace! Bye", "Peace", "Peace!."]),
    ("startend:quotation", {}, ['"All of it."', ' "x" \n', '""'], ['All "of" it', '"', "'x'", '"x".', "“x”"]),
]  # fmt: skip


def test_every_instruction_has_cases() -> None:
    assert len(INSTRUCTIONS) == 25 and {case[0] for case in CASES} == set(INSTRUCTIONS)


@pytest.mark.parametrize(("name", "kwargs", "right", "wrong"), CASES, ids=[case[0] for case in CASES])
def test_right_and_wrong(name: str, kwargs: dict[str, Any], right: list[str], wrong: list[str]) -> None:
    for response in right:
        found = verify_instructions(response, [name], [kwargs])
        assert found.correct and found.followed == (True,) and found.method == "ifeval-strict", response
    for response in [*wrong, "", " \n"]:
        found = verify_instructions(response, [name], [kwargs])
        assert not found.correct and found.followed == (False,), response
        assert (name in found.note) if response.strip() else found.note == "the response is blank"


LOOSE_ONLY = [
    ("startend:quotation", {}, 'Sure, here it is:\n"All of it."'),
    ("startend:quotation", {}, '"All of it."\nAnything else?'),
    ("startend:quotation", {}, 'Sure:\n"All of it."\nAnything else?'),
    ("startend:quotation", {}, '**"All of it."**'),
    ("startend:end_checker", {"end_phrase": "Peace!"}, "So long. Peace!\n(end)"),
    ("startend:end_checker", {"end_phrase": "Peace!"}, "So long. **Peace!**"),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Write a poem."}, "Of course.\nWrite a poem.\nRoses are red."),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Write a poem."}, "**Write a poem.** Roses are red."),
    ("detectable_format:json_format", {}, 'Here is the JSON:\n{"a": 1}'),
    ("detectable_format:json_format", {}, 'Here:\n```json\n{"a": 1}\n```\nEnjoy!'),
    ("punctuation:no_comma", {}, "Sure, here it is:\nno comma at all"),
    ("change_case:english_lowercase", {}, "Sure:\nall of this is in small letters."),
    ("keywords:forbidden_words", {"forbidden_words": ["sure"]}, "Sure!\nHere it is."),
    ("length_constraints:number_sentences", {"num_sentences": 3, "relation": LESS}, "Of course!\nOne. Two."),
    ("detectable_format:number_bullet_lists", {"num_bullets": 1}, "* intro\n* point"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "kwargs", "response"), LOOSE_ONLY)
def test_loose_forgives_first_and_last_lines_and_stars(name: str, kwargs: dict[str, Any], response: str) -> None:
    assert not verify_instructions(response, [name], [kwargs]).correct
    loose = verify_instructions(response, [name], [kwargs], loose=True)
    assert loose.correct and loose.method == "ifeval-loose"


def test_loose_has_the_eight_variants_and_no_other() -> None:
    assert loose_variants("*a*\nb\n*c*") == (
        "*a*\nb\n*c*", "b\n*c*", "*a*\nb", "b", "a\nb\nc", "b\nc", "a\nb",
    )  # fmt: skip
    assert loose_variants("one line") == ("one line", "")
    assert not verify_instructions("a, b\nc, d\ne, f", ["punctuation:no_comma"], [{}], loose=True).correct
    assert not verify_instructions("two lines\n\nof, text", ["startend:quotation"], [{}], loose=True).correct


@settings(max_examples=80, deadline=None)
@given(st.text(alphabet='ab AB*-\n"[]<>,.!P1', max_size=60), st.sampled_from(CASES))
def test_what_holds_strictly_holds_loosely(response: str, case: tuple[str, dict[str, Any], Any, Any]) -> None:
    if verify_instructions(response, [case[0]], [case[1]]).correct:
        assert verify_instructions(response, [case[0]], [case[1]], loose=True).correct


def test_several_instructions_are_reported_each() -> None:
    names = ["punctuation:no_comma", "startend:quotation", "length_constraints:number_words"]
    kwargs = [{}, {}, {"num_words": 2, "relation": AT_LEAST, "keywords": None}]
    found = verify_instructions('"one, two"', names, kwargs)
    assert found.followed == (False, True, True) and not found.correct and found.note == "not followed: " + names[0]
    assert verify_instructions('"one two"', names, kwargs).correct


@pytest.mark.parametrize(
    ("names", "kwargs", "message"),
    [
        (["keywords:exist"], [{}], "unknown instruction 'keywords:exist'"),
        (["keywords:existence"], [{}], "keywords:existence: keywords is missing"),
        (["keywords:existence"], [{"keywords": None}], "keywords is missing"),
        (["keywords:existence"], [{"keywords": "cat"}], "keywords must be a list of words, but is 'cat'"),
        (["keywords:existence"], [{"keywords": ["cat"], "keyword5": 3}], "unknown argument 'keyword5'"),
        (["keywords:frequency"], [{"keyword": "a", "frequency": 2, "relation": "at most"}], "must be one of at least"),
        (["keywords:letter_frequency"], [{"letter": "ab", "let_frequency": 2, "let_relation": LESS}], "one letter"),
        (["length_constraints:number_words"], [{"num_words": -1, "relation": LESS}], "whole number of 0 or more"),
        (["length_constraints:number_words"], [{"num_words": "5", "relation": LESS}], "but is '5'"),
        (["language:response_language"], [{"language": "klingon"}], "language must be one of"),
        (["punctuation:no_comma"], [], "1 instructions, but 0 kwargs"),
        (["punctuation:no_comma"], ["x"], "kwargs must be a mapping"),
        ([], [], "at least one id"),
        ("punctuation:no_comma", [{}], "must be a list"),
    ],
)
def test_rows_that_cannot_be_graded_are_named(names: Any, kwargs: Any, message: str) -> None:
    with pytest.raises(PonderError, match=re.escape(message)) as caught:
        verify_instructions("text", names, kwargs, prompt="Write a poem about the sea")
    assert "Write a poem" in str(caught.value)


# the same by patterns as the reference has them, which backtrack and so are slow on hostile texts
REFERENCE = {
    "placeholders": lambda text: len(re.findall(r"\[.*?\]", text)),
    "bullets": lambda text: len(re.findall(r"^\s*\*[^\*].*$", text, re.M)) + len(re.findall(r"^\s*-.*$", text, re.M)),
    "titles": lambda text: any(t.lstrip("<").rstrip(">").strip() for t in re.findall(r"<<[^\n]+>>", text)),
    "p.s.": lambda text: bool(re.findall(r"\s*p\.\s?s\..*$", text.lower(), re.M)),
    "p.p.s": lambda text: bool(re.findall(r"\s*p\.\s?p\.\s?s.*$", text.lower(), re.M)),
}


@settings(max_examples=400, deadline=None)
@given(st.text(alphabet="a*-[]<> \n\t.PS", max_size=24))
def test_linear_scans_find_what_the_patterns_find(text: str) -> None:
    assert shapes.number_bullets(text, num_bullets=REFERENCE["bullets"](text))
    count = REFERENCE["placeholders"](text)
    assert shapes.number_placeholders(text, num_placeholders=count)
    assert not shapes.number_placeholders(text, num_placeholders=count + 1)
    assert shapes.title(text) == REFERENCE["titles"](text)
    assert shapes.postscript(text, postscript_marker="P.S.") == REFERENCE["p.s."](text)
    assert shapes.postscript(text, postscript_marker="P.P.S") == REFERENCE["p.p.s"](text)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0), ("   ", 0), ("One", 1), ("One. Two.", 2), ("one. two.", 2), ("Mr. Tan left. He ran.", 2),
        ("In the U.S. it rains. Here too.", 2), ("At 5 p.m. he left.", 1), ("Wow!!! Great.", 2), ("What?! Yes.", 2),
        ("Well... the end.", 1), ("Well... The end.", 2), ("Pi is 3.14.", 1), ("See example.com now.", 1),
        ("(This is it.) Next one.", 2), ("He said \"Go.\" Then left.", 2), ("**Hello world.**", 2),
        ("J. Bach played.", 1),
        ("Plan B. The next.", 2), ("1. First\n2. Second", 3), ("It is Ann's. Bob left.", 2), ("a.b.c", 1), ("...", 1),
        ("Line one\nline two", 1), ("Done.\n\n- a\n- b", 2),
    ],
)  # fmt: skip
def test_sentences(text: str, count: int) -> None:
    assert count_sentences(text) == count


def test_words_and_capital_words() -> None:
    assert count_words("don't stop_now, 3.14") == 5
    capitals = {"I'm": 1, "IT'S": 2, "DON'T": 2, "DON’T": 2, "U.S.": 1, "A-B": 1, "GO/NO": 1, "DVDs": 0, "É": 1}
    assert {text: count_capital_words(text) for text in capitals} == capitals


# articles of the declaration of human rights, and what one says at the table
SENTENCES = {
    "en": ["All human beings are born free and equal in dignity and rights.", "The dog eats bread."],
    "es": ["Todos los seres humanos nacen libres e iguales en dignidad y derechos.", "Mañana iremos a la playa."],
    "pt": ["Todos os seres humanos nascem livres e iguais em dignidade e em direitos.", "Amanhã iremos à praia."],
    "fr": ["Tous les êtres humains naissent libres et égaux en dignité et en droits.", "Le chien mange du pain."],
    "de": ["Alle Menschen sind frei und gleich an Würde und Rechten geboren.", "Wie geht es dir?"],
    "it": ["Tutti gli esseri umani nascono liberi ed eguali in dignità e diritti.", "Il treno parte alle otto."],
    "pl": ["Wszyscy ludzie rodzą się wolni i równi pod względem swej godności i swych praw.", "Jak się masz?"],
    "vi": ["Tất cả mọi người sinh ra đều được tự do và bình đẳng.", "Bạn có khỏe không?"],
    "sw": ["Watu wote wamezaliwa huru, hadhi na haki zao ni sawa.", "Tunahitaji maziwa na mayai zaidi."],
    "fi": ["Kaikki ihmiset syntyvät vapaina ja tasavertaisina.", "Juna lähtee kello kahdeksan."],
    "ru": ["Все люди рождаются свободными и равными в своём достоинстве и правах.", "Как дела?"],
    "uk": ["Всі люди народжуються вільними і рівними у своїй гідності та правах.", "Собака їсть хліб."],
    "bg": ["Всички хора се раждат свободни и равни по достойнство и права.", "Обичам кафе с мляко."],
    "ar": ["يولد جميع الناس أحرارا متساوين في الكرامة والحقوق.", "كيف حالك؟"],
    "fa": ["تمام افراد بشر آزاد به دنیا می‌آیند.", "حال شما چطور است؟"],
    "ur": ["تمام انسان آزاد اور حقوق و عزت کے اعتبار سے برابر پیدا ہوئے ہیں۔", "آپ کیسے ہیں؟"],
    "hi": ["सभी मनुष्यों को गौरव और अधिकारों के मामले में समानता प्राप्त है।", "आप कैसे हैं?"],
    "mr": ["सर्व मानवी व्यक्ती जन्मतःच स्वतंत्र आहेत.", "तुम्ही कसे आहात?"],
    "ne": ["सबै व्यक्तिहरू जन्मजात स्वतन्त्र हुन्।", "तपाईंलाई कस्तो छ?"],
    "bn": ["সমস্ত মানুষ স্বাধীনভাবে জন্মগ্রহণ করে।", "কেমন আছ?"],
    "pa": ["ਸਾਰੇ ਇਨਸਾਨ ਆਜ਼ਾਦ ਪੈਦਾ ਹੁੰਦੇ ਹਨ।"], "gu": ["બધા માનવો જન્મથી સ્વતંત્ર છે."],
    "ta": ["மனிதர் அனைவரும் சுதந்திரமாகவே பிறக்கின்றனர்."], "te": ["మానవులందరు స్వతంత్రులుగా పుట్టారు."],
    "kn": ["ಎಲ್ಲಾ ಮಾನವರೂ ಸ್ವತಂತ್ರರಾಗಿ ಹುಟ್ಟಿದ್ದಾರೆ."], "ml": ["എല്ലാ മനുഷ്യരും സ്വതന്ത്രരായി ജനിച്ചവരാണ്."],
    "th": ["มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกัน"], "he": ["כל בני האדם נולדו בני חורין."],
    "ko": ["모든 인간은 태어날 때부터 자유롭다.", "안녕하세요?"],
    "ja": ["すべての人間は生まれながらにして自由である。"],
}  # fmt: skip


@pytest.mark.parametrize("code", SENTENCES)
def test_languages_of_ifeval_are_told_apart(code: str) -> None:
    for sentence in SENTENCES[code]:
        assert detect(sentence) == code
        assert detect(sentence.upper()) == code
        for other in (code, "en", "hi", "ar", "ru"):
            verdict = verify_instructions(sentence, ["language:response_language"], [{"language": other}])
            assert verdict.correct == (other == code)


def test_language_of_mixed_and_empty_texts() -> None:
    assert detect("Here it is: " + SENTENCES["kn"][0] * 3) == "kn"
    assert detect("नमस्ते " + SENTENCES["en"][0]) == "en"
    assert detect("123 !?") is None and detect("") is None and detect("ᚠᚢᚦ") == "unknown"
    assert detect("日本は島国である。東京") == "ja" and detect("人人生而自由") == "zh"
