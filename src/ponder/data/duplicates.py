"""Rows that say the same: exactly, but for case and punctuation, or nearly (n-grams of words, Jaccard)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from ponder.tasks.audit import signs_of


def exact_key(text: str) -> str:
    """Equal for texts that are the same but for the white space around them."""
    return text.strip()


def normal_key(text: str) -> tuple[str, ...]:
    """Equal for texts that are the same but for case, spacing and punctuation; + and - count."""
    return signs_of(text) or (text.strip(),)


def shingles(text: str, n: int) -> frozenset[tuple[str, ...]]:
    """The runs of `n` words and signs of a text; the whole where it is shorter."""
    signs = normal_key(text)
    return frozenset(signs[at : at + n] for at in range(max(len(signs) - n + 1, 1)))


def jaccard(one: frozenset[tuple[str, ...]], other: frozenset[tuple[str, ...]]) -> float:
    """Shared over all, from 0 to 1."""
    return len(one & other) / len(one | other) if one or other else 1.0


def near_duplicates(texts: Sequence[str], threshold: float, n: int = 5) -> Mapping[int, int]:
    """Each text whose Jaccard similarity to an earlier, kept one is at least `threshold`, with that one's place.

    Exact, and far from quadratic: a text's rarest shingles are looked up only. Two sets that are so alike share at
    least one among the rarest |A| - ceil(threshold |A|) + 1 of each (prefix filter; Bayardo et al., WWW 2007).
    """
    sets = [shingles(text, n) for text in texts]
    count = Counter(shingle for one in sets for shingle in one)
    kept: dict[tuple[str, ...], list[int]] = {}
    found: dict[int, int] = {}
    for place, one in enumerate(sets):
        rare = sorted(one, key=lambda shingle: (count[shingle], shingle))
        prefix = rare[: len(rare) - _least(len(rare), threshold) + 1]
        candidates = sorted({earlier for shingle in prefix for earlier in kept.get(shingle, ())})
        same = next((earlier for earlier in candidates if jaccard(one, sets[earlier]) >= threshold), None)
        if same is not None:
            found[place] = same
            continue
        for shingle in prefix:
            kept.setdefault(shingle, []).append(place)
    return found


def _least(size: int, threshold: float) -> int:
    """How many shingles of a set of `size` must be shared at the least."""
    return max(1, -int(-(size * threshold - 1e-9) // 1))
