"""Refusals that say the account can pay for nothing more, whatever their status. Pure.

Such a refusal stops the run in order, as the next request would be refused as well. A limit per
minute is none: the server asks for patience.
"""

import re

_CODES = frozenset(
    {
        "insufficient_quota",  # OpenAI: 429
        "billing_hard_limit_reached",  # OpenAI: 400 and 429
        "billing_not_active",  # OpenAI: 429
        "account_deactivated",  # OpenAI: 401
        "access_terminated",  # OpenAI: 403
        "billing_error",  # Anthropic: 403, error.type
        "insufficient_balance",  # DeepSeek: 402; xAI
        "insufficient_credits",  # Perplexity, Together
        "insufficient_user_quota",  # one-api and new-api, in front of many providers: 403
        "exceeded_current_quota_error",  # Moonshot: 429
        "arrearage",  # DashScope: 400
        "accountoverdueerror",  # Volcengine Ark: 403
        "payment_required",
        "1113",  # z.ai: 429, the account is in arrears
        "1112",  # z.ai: the account is locked
        "1110",  # z.ai: the account is not active
    }
)
_WORDS = re.compile(
    "|".join(
        (
            r"credit balance is too low",  # Anthropic: 400, invalid_request_error
            r"insufficient (account )?(balance|credits?|funds|quota)",  # DeepSeek, OpenRouter
            r"requires more credits",  # OpenRouter: 402
            r"(run|ran) out of credits?",
            r"exceeded your current quota",  # OpenAI; Gemini, whose details name the span
            r"billing hard limit",  # OpenAI
            r"account is not active",  # OpenAI
            r"account .{0,40}(suspended|in arrears|overdue|deactivated)",  # Moonshot, z.ai
            r"(monthly|spend(ing)?) (spend(ing)? )?limit (reached|exceeded|has been)",
            r"reached your specified .{0,20}usage limits?",  # Anthropic: a limit of one's own
        )
    ),
    re.IGNORECASE,
)
_DAILY = re.compile(r"per[- ]day\b|\b(RPD|TPD)\b|PerDay", re.IGNORECASE)
"""Limits of a day: Groq, OpenAI, OpenRouter, Gemini's quotaId."""
_PASSES = re.compile(r"per[- ]?minute|per[- ]?second|\b(RPM|TPM)\b", re.IGNORECASE)
"""Limits that pass while one waits, as Gemini's quotaId `...PerMinute...`."""


def is_account_trouble(status: int, words: str, codes: frozenset[str]) -> bool:
    """Tell whether an error says that the account is exhausted, unpaid or closed.

    `codes` are the error's `code`, `type` and `status`, `words` its message and the names of its
    quotas: not the whole body, which may repeat the prompt.
    """
    if status == 402:  # Payment Required: DeepSeek, OpenRouter, Perplexity
        return True
    if any(code.lower() in _CODES for code in codes):
        return True
    if status == 429 and _DAILY.search(words):
        return True
    if status < 400 or status >= 500 or (status == 429 and _PASSES.search(words)):
        return False
    return _WORDS.search(words) is not None
