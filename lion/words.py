"""Word tokenizers for texts in every script. Pure."""

import re
import unicodedata
from typing import Literal

import regex

Tokens = Literal["unicode", "reference"]

# Scripts without spaces between words: each character is a token. The long vowel mark of kana
# belongs to no script.
_UNSPACED = (
    r"\u30FC\p{Han}\p{Hiragana}\p{Katakana}\p{Bopomofo}\p{Yi}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
    r"\p{Tai_Le}\p{New_Tai_Lue}\p{Tai_Tham}\p{Tai_Viet}\p{Ahom}\p{Javanese}\p{Balinese}"
)
UNSPACED_CHARACTER = rf"[[{_UNSPACED}]&&[\p{{L}}\p{{N}}]]\p{{M}}*"
SPACED_WORD = rf"(?:[[\p{{L}}\p{{N}}]--[{_UNSPACED}]]\p{{M}}*)+"
"""Patterns of the package `regex`, version 1: combining marks stay with their base."""

_UNICODE_WORD = regex.compile(f"{UNSPACED_CHARACTER}|{SPACED_WORD}", regex.VERSION1)
# Joiners and soft hyphens affect how a word is rendered, not which word it is.
_INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u200c\u200d\u2060\ufeff"))


def folded(text: str) -> str:
    """Return `text` for comparison: NFKC, case folded, without invisible characters."""
    if text.isascii():
        return text.lower()
    visible = text.translate(_INVISIBLE)
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", visible).casefold())


def words(text: str, tokens: Tokens) -> list[str]:
    """Return the words of `text` that ROUGE-L compares.

    `reference`: the default tokenizer of the package rouge-score, without stemming: lower case,
    runs of a-z and 0-9. `unicode`: the same for every script; in scripts without spaces between
    words, every character is a word. Punctuation and symbols separate words.
    """
    # For ASCII both tokenizers agree, and the simpler pattern is many times faster.
    if tokens == "reference" or text.isascii():
        return re.findall("[a-z0-9]+", text.lower())
    return list(_UNICODE_WORD.findall(folded(text)))
