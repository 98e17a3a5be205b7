"""Sections of params.yaml about endpoints: the roles, how they are asked, and the budget.

Also `Section`, the base of every section, and the types that sections share.
"""

from math import isfinite
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

EMBEDDED = "embedded"


def _endpoint_url(value: str) -> str:
    """Refuse what is neither `embedded` nor an http(s) address; strip the closing slash."""
    if value == EMBEDDED:
        return value
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"expected `{EMBEDDED}` or an http(s) address")
    try:
        parts.port  # noqa: B018 - raises for what is no port
    except ValueError as error:
        raise ValueError(f"the address is not usable: {error}") from error
    if any(character.isspace() for character in parts.hostname):
        raise ValueError("the address is not usable: its host has white space")
    if parts.query and not (parts.username or parts.password):
        raise ValueError("parameters stand in `query`; keys belong in the environment")
    if parts.username or parts.password:
        raise ValueError("keys and passwords belong in the environment, not in the address")
    return value.rstrip("/")


Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
EndpointUrl = Annotated[str, AfterValidator(_endpoint_url)]
Mode = Literal["live", "batch"]
Thinking = Literal["strip", "keep", "refuse"]
Variable = Annotated[str, Field(pattern=r"^[A-Z_][A-Z0-9_]*$")]
"""The name of a variable of the environment."""

_SDK_WORDS = {
    # parameters of the openai SDK's methods, which are no fields of the protocol
    "extra_body": "write its fields into `request` itself",
    "extra_headers": "use `headers`, whose values are names of environment variables",
    "default_headers": "use `headers`, whose values are names of environment variables",
    "extra_query": "use `query`",
    "default_query": "use `query`",
    "timeout": "use api.timeout",
    "request_timeout": "use api.timeout",
    "api_version": "use `query`, as {api-version: 2024-10-21}",
    "azure_endpoint": "use base_url",
    "authorization": "use api_key_env, the name of an environment variable",
    "headers": "use `headers` beside `request`, whose values are names of environment variables",
    "http_client": "proxies and certificates are variables of the environment",
    "proxies": "set HTTPS_PROXY in the environment",
    "fallbacks": "name another endpoint in base_url",
    "maxTokens": "write max_tokens",
    "max_retries": "use api.tries",
    "num_retries": "use api.tries",
    "api_key": "use api_key_env, the name of an environment variable",
    "api_base": "use base_url",
    "base_url": "it stands beside `request`",
    "organization": "use `headers`, as OpenAI-Organization: NAME_OF_A_VARIABLE",
    "drop_params": "remove what the server does not know",
    "stream_options": "replies are not streamed; remove it",
}
"""What people copy from code into `request`, and where it belongs."""


def _plain_json(value: object, place: str = "request") -> object:
    """Return `value`; raises ValueError for what a JSON body cannot say."""
    if isinstance(value, float) and not isfinite(value):
        raise ValueError(f"{place} is {value}, which JSON cannot say")
    if isinstance(value, dict):
        for key, part in value.items():
            if not isinstance(key, str):
                raise ValueError(f"{place}: the name {key!r} is no text; put it in quotes")
            _plain_json(part, f"{place}.{key}")
    if isinstance(value, list):
        for number, part in enumerate(value):
            _plain_json(part, f"{place}.{number}")
    return value


Parameters = Annotated[dict[str, Any], BeforeValidator(_plain_json)]
"""Fields of a request's body, passed on as they are."""


_NUMBERS = {"max_tokens", "max_completion_tokens", "temperature", "top_p", "top_k"}


class Section(BaseModel):
    """A section of params.yaml: strict types, no unknown keys, immutable."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Connection(Section):
    """A server, and what every request to it brings; `request` is passed on as it is.

    `headers` are further headers by name, each from a variable of the environment, so that no key
    stands in a file. `query` are parameters of the address, as Azure's api-version. `thinking` says
    what becomes of thoughts in the content of a reply.
    """

    base_url: EndpointUrl
    api_key_env: Variable | None
    send_seed: bool
    request: Parameters
    headers: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$")], Variable] = {}
    query: dict[str, str] = {}
    thinking: Thinking = "strip"


class Endpoint(Connection):
    """An OpenAI-compatible endpoint in one role."""

    path: ClassVar[str] = "/chat/completions"

    model: Annotated[str, Field(min_length=1)]

    @model_validator(mode="after")
    def _request_is_free_of_ours(self) -> Self:
        for key in ("messages", "input", "model", "seed", "stream", "n"):
            if key in self.request:
                raise ValueError(f"request.{key} is set by Lion itself; remove it")
        for key in _NUMBERS & set(self.request):
            if isinstance(self.request[key], str):
                raise ValueError(f"request.{key} is a text; remove the quotes")
        for key, way in _SDK_WORDS.items():
            if key in self.request:
                raise ValueError(f"request.{key} is no field of the protocol: {way}")
        return self


class EmbeddingEndpoint(Endpoint):
    """An OpenAI-compatible endpoint of embeddings, whose protocol knows no seed."""

    path: ClassVar[str] = "/embeddings"

    send_seed: Literal[False] = False

    @model_validator(mode="after")
    def _is_not_embedded(self) -> Self:
        if self.base_url == EMBEDDED:
            raise ValueError("base_url: the embedded teacher makes no embeddings; name a server")
        return self


class Referee(Endpoint):
    """The endpoint that judges, and how its verdicts are asked for.

    schema: as JSON that the server itself keeps to (`response_format`); text: as two lines.
    """

    form: Literal["text", "schema"]

    @model_validator(mode="after")
    def _schema_is_ours(self) -> Self:
        if self.form == "schema" and "response_format" in self.request:
            raise ValueError("request.response_format is set by `form: schema`; remove it")
        return self


class Served(Connection):
    """A server that answers for the student; Lion names the model, so that it is the right one."""

    @model_validator(mode="after")
    def _is_an_endpoint(self) -> Self:
        if self.base_url == EMBEDDED:
            raise ValueError("base_url: the embedded teacher is no student; name a server")
        self.endpoint("student", {})
        return self

    def endpoint(self, model: str, request: dict[str, Any]) -> Endpoint:
        """Return the endpoint of `model`; `request` are parameters beside the user's own."""
        parameters = {**request, **self.request}
        return Endpoint(**{**self.model_dump(), "model": model, "request": parameters})


class Modes(Section):
    """How each role is asked: at once, or through the provider's Batch API."""

    teacher: Mode
    referee: Mode
    generator: Mode


class Api(Section):
    """How endpoints are asked. Never decides an output, so no stage declares it."""

    concurrency: Positive
    timeout: Annotated[float, Field(gt=0)]
    tries: Positive
    max_wait: Annotated[float, Field(gt=0)]
    max_request_seconds: Annotated[float, Field(gt=0)]
    requests_per_minute: Annotated[float, Field(gt=0)] | None
    tokens_per_minute: Annotated[float, Field(gt=0)] | None
    mode: Modes
    batch_least: Positive
    batch_tail: Share


class Budget(Section):
    """The most that the project's ledger may ever have spent; null is no cap."""

    usd: Annotated[float, Field(ge=0)] | None
    tokens: Count | None
    calls: Count | None
