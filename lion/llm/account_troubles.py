"""Refusals that say the account can pay for nothing more, whatever their status. Pure.

Such a refusal stops the run in order, as the next request would be refused as well. A limit per
minute is none: the server asks for patience. Sources and tests: docs/reference/providers.md.
"""

import re

_CODES = frozenset(
    {
        # developers.openai.com, error-codes: 429, by error.code; the type is insufficient_quota
        "credit_balance_exhausted",
        "organization_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
        "project_spend_limit_exceeded",
        "insufficient_quota",  # OpenAI: 429; Perplexity: 401
        "billing_hard_limit_reached",  # OpenAI: 400
        "billing_not_active",  # OpenAI: 429, RamiAwar/dataline#175
        "account_deactivated",  # OpenAI: songquanpeng/one-api:monitor/manage.go
        "access_terminated",  # OpenAI: 403
        "access_terminated_error",  # Kimi's plan for coding: 403
        "billing_error",  # Anthropic: 402, error.type
        "enforced_spend_limit_reached",  # Anthropic: 429, error.details.error_code
        "blocked_api_access",  # console.groq.com/docs/spend-limits: 400
        "budget_exceeded",  # BerriAI/litellm as a proxy: 400 and 429, error.type
        "billing_insufficient_balance",  # xAI: Effect-TS/effect#7258
        "insufficient_balance",  # veniceai/api-docs#149; Wei-Shaw/sub2api#890: 403
        "not_enough_balance",  # Novita: 403, huggingface/hub-docs#2392
        "billing_balance_not_enough",  # novita.ai/docs, basic-error-code: 400
        "insufficient_user_quota",  # one-api:relay/controller/helper.go: 403
        "exceeded_current_quota_error",  # Moonshot: 429, platform.moonshot.ai
        "arrearage",  # help.aliyun.com/en/model-studio/error-code: 400
        "allocationquota.freetieronly",  # the same: 403
        "accountoverdueerror",  # volcengine.com/docs/82379/1299023: 403
        # docs.bigmodel.cn/cn/api/api-code (z.ai): 429
        "1110",  # the account is not active
        "1111",  # it does not exist
        "1112",  # it is locked
        "1113",  # it is in arrears
        "1121",  # it is locked for a violation
        "1304",  # the calls of a day are spent
        "1308",  # the plan's limit is reached, with the time of its reset
        "1309",  # the plan has expired
        "1310",  # the limit of a week or month is reached
    }
)
_WORDS = re.compile(
    "|".join(
        (
            r"credit balance is too low",  # Anthropic: 400, anthropics/claude-code#4207
            # DeepSeek: 402; MiniMax: 500 "insufficient balance (1008)", MiniMax-AI/MiniMax-M2#62
            r"insufficient (account )?(balance|credits?|funds|quota)",
            r"balance is (insufficient|not enough)|not enough balance",  # SiliconFlow; Novita: 403
            r"requires? more credits|more credits are required",  # OpenRouter: 402
            r"key limit exceeded",  # OpenRouter: 403, the limit of a key
            r"(run|ran) out of credits?|used all available credits",  # xAI: 403, 429
            r"doesn't have any credits",  # xAI: 403, a new team; continuedev/continue#12670
            r"credits are depleted",  # Gemini: 429, since 402; discuss.ai.google.dev/t/183654
            r"exceeded your (current quota|monthly included credits)",  # OpenAI; Hugging Face
            r"free (tier of the model has been exhausted|allocated quota exceeded)",  # DashScope
            r"billing hard limit",  # OpenAI: 400
            r"account is not active",  # OpenAI: 429
            # Moonshot: 429; Fireworks: 412, docs.fireworks.ai/guides/inference-error-codes
            r"account .{0,60}(suspended|in arrears|overdue|deactivated)",
            r"(monthly|spend(ing)?) (spend(ing)? )?limit (reached|exceeded|has been)",
            r"(reached|exceeded) (your|its) monthly spend(ing)? limit",  # xAI; Together: 402
            # platform.claude.com, rate-limits: 400, a limit of one's own; 429, the tier's
            r"reached your (specified .{0,12})?API usage limits",
            r"budget has been exceeded",  # litellm as a proxy
        )
    ),
    re.IGNORECASE,
)
_LONG = re.compile(
    "|".join(
        (
            r"per[-_ ]?(day|month)\b|per[-_ ]?day_",  # Groq, OpenRouter; Vertex's names of quotas
            r"\b(RPD|TPD)\b",  # OpenAI, Groq
            r"PerDay|ByDay|per 86400s",  # Gemini's quotaId; GitHub Models
            r"calls / month",  # Cohere's trial keys
        )
    )
)
"""Limits of a day or a month, which outlast a run."""
_LONG_IN_PROSE = re.compile(
    # Cloudflare, SambaNova
    r"\b(daily|weekly|monthly) (\w+ ){0,2}(allocation|limit|quota|cap)s?\b",
    re.IGNORECASE,
)
"""The same in a sentence, which may name it beside the limit that was reached."""
_PASSES = re.compile(
    r"per[-_ ]?(minute|second)|\b(RPM|TPM)\b|/ ?minute|(?<!free )allocated quota exceeded",
    re.IGNORECASE,
)
"""Limits that pass while a run waits: of a minute, and DashScope's, whose code says otherwise."""


def is_account_trouble(status: int, words: str, codes: frozenset[str]) -> bool:
    """Tell whether an error says that the account is exhausted, unpaid or closed.

    `codes` are the error's `code`, `type` and `status`, `words` its message and the names of its
    quotas: not the whole body, which may repeat the prompt.
    """
    if status < 400:
        return False
    if status == 402:  # Payment Required: DeepSeek, OpenRouter, Together, Fireworks, Hugging Face
        return True
    if status == 429 and _LONG.search(words):
        return True
    if status == 429 and _PASSES.search(words):
        return False
    if status == 429 and _LONG_IN_PROSE.search(words):
        return True
    return any(code.lower() in _CODES for code in codes) or _WORDS.search(words) is not None
