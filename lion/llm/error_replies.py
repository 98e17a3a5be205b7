"""What a server's error says: its words, its codes, and how long to wait."""

import math
import time
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2
import openai

from lion import escape
from lion.llm.account_troubles import is_account_trouble
from lion.prompting import replies
from lion.prompting.reply_document import parse_document, valid_text


def body_codes(response: httpx2.Response) -> frozenset[str]:
    """Return the codes of an error's whole body: the SDK keeps no more of it than `error`."""
    try:
        return error_codes(parse_document(response.content))
    except (ValueError, RecursionError):
        return frozenset()


_CODE_NAMES = ("code", "type", "status", "error_code")


def error_codes(document: object) -> frozenset[str]:
    """Return what an error's body says in `code`, `type` and the like, inside `error` or not."""
    if isinstance(document, list) and document:  # Google
        document = document[0]
    body = document if isinstance(document, dict) else {}
    inner = body.get("error")
    parts = [body, inner] if isinstance(inner, dict) else [body]
    details = parts[-1].get("details")
    if isinstance(details, dict):  # Anthropic: error.details.error_code
        parts.append(details)
    values = [part.get(name) for part in parts for name in _CODE_NAMES]
    return frozenset(str(value) for value in values if isinstance(value, str | int))


def reports_account_trouble(raw: bytes) -> bool:
    """Tell whether a reply of status 200 is the error of an account that can pay for nothing more.

    OpenRouter sends errors of the provider behind it so, MiniMax all (openrouter.ai/docs, errors).
    """
    try:
        document = parse_document(raw)
    except (ValueError, RecursionError):
        return False
    error = document.get("error") if isinstance(document, dict) else None
    code = error.get("code") if isinstance(error, dict) else None
    status = code if isinstance(code, int) and code >= 400 else 400
    return is_account_trouble(status, replies.words_of(document) or "", error_codes(document))


def retry_after(headers: Any) -> float | None:
    """Return the seconds of a Retry-After header (number or date), None where there is none.

    OpenAI and Azure send milliseconds as well. What is not finite is no wish: `inf` would block all
    calls for ever (openai/openai-agents-python#4021).
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return max(0.0, milliseconds / 1000)
    value = headers.get("retry-after")
    seconds = _number(value)
    if value is None or seconds is not None:
        return None if seconds is None else max(0.0, seconds)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def server_words(error: BaseException) -> str:
    """Return the server's own words, on one line; whatever the shape of the body."""
    text = str(error)
    if isinstance(error, openai.APIStatusError):
        response = error.response
        text = replies.words_of_body(response.text) or response.reason_phrase  # never the body
    clean = escape.inert(valid_text(" ".join(text.split())))
    return clean or type(error).__name__
