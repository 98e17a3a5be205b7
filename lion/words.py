"""Words of texts in every script, for comparing texts and counting their words. Pure."""

import re
import unicodedata
from typing import Literal

import regex

Tokens = Literal["unicode", "reference"]

# Scripts that write words without spaces between them: each character is a token there. The long
# vowel mark of kana is in no script of its own.
_UNSPACED = (
    r"\u30FC\p{Han}\p{Hiragana}\p{Katakana}\p{Bopomofo}\p{Yi}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
    r"\p{Tai_Le}\p{New_Tai_Lue}\p{Tai_Tham}\p{Tai_Viet}\p{Ahom}\p{Javanese}\p{Balinese}"
)
UNSPACED_CHARACTER = rf"[[{_UNSPACED}]&&[\p{{L}}\p{{N}}]]\p{{M}}*"
SPACED_WORD = rf"(?:[[\p{{L}}\p{{N}}]--[{_UNSPACED}]]\p{{M}}*)+"
"""Patterns of the package `regex`, version 1: combining marks stay with their base."""

_UNICODE_WORD = regex.compile(f"{UNSPACED_CHARACTER}|{SPACED_WORD}", regex.VERSION1)
# Joiners and soft hyphens say how a word is drawn, not which word it is.
_INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u200c\u200d\u2060\ufeff"))


def folded(text: str) -> str:
    """Return `text` for comparing: compatibility forms and case folded, invisible marks gone."""
    if text.isascii():
        return text.lower()
    visible = text.translate(_INVISIBLE)
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", visible).casefold())


def words(text: str, tokens: Tokens) -> list[str]:
    """Return the words of `text` that ROUGE-L compares.

    `reference`: the default tokenizer of the package rouge-score, without stemming: lower case,
    runs of a-z and 0-9, everything else separates. `unicode`: the same idea for every script;
    where a script puts no spaces between words, every character is a word. Punctuation and
    symbols are never words.
    """
    # In ASCII the two are the same, and the simpler pattern is many times faster.
    if tokens == "reference" or text.isascii():
        return re.findall("[a-z0-9]+", text.lower())
    return list(_UNICODE_WORD.findall(folded(text)))
