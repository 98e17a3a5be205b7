"""One call to an endpoint, through the openai SDK; every error of the SDK is translated here.

Keeps nothing and retries nothing (see `request_runner`).
"""

import asyncio
import os
import re
import ssl
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import httpx2
import openai

from lion import console
from lion.config.connection_variables import broken_connection_variable
from lion.config.settings import EMBEDDED, Api, Endpoint
from lion.errors import EndpointError
from lion.llm.account_troubles import is_account_trouble
from lion.llm.call_errors import EndpointRefusedError, RefusedError, RetryableError, ThrottledError
from lion.llm.error_replies import body_codes, retry_after, server_words
from lion.prompting.protocol import Failure
from lion.simulator import server

RETRYABLE_STATUS = frozenset({408, 409, 424, 425, 429, 498})
"""424: TGI, an error while it generates (router/src/server.rs). 498: Groq, no capacity just now
(console.groq.com/docs/errors)."""
_LARGEST = 8 << 20
"""Bytes of a reply, unpacked: far above what any model writes, far below what memory holds."""
_ENCODINGS = ("gzip", "deflate")  # others unpack megabytes from the first few bytes
_PROXY_REFUSES = 407
_WITHOUT_KEY = "the key: none is sent, as api_key_env is null in params.yaml"
_SHOWN = 300  # characters of a server's words
_QUOTA = re.compile(r'"quotaId"\s*:\s*"([^"]*)"')  # Gemini: the limit by its span
_MODEL_IS_GONE = re.compile(
    r"model.{0,80}(not exist|not found|unknown|decommissioned|deprecated|no longer)", re.IGNORECASE
)
_MODERATED = re.compile(
    # OpenRouter: flagged by moderation; Azure: content management policy; OpenAI: safety system
    r"moderat|flagged|content[ _](policy|filter|management)|safety|usage polic",
    re.IGNORECASE,
)
"""What a server says of a request whose text it does not take."""


class _UnreadableError(httpx2.TransportError):
    """A reply is too large, or packed by a method that was not asked for."""


@dataclass(slots=True)
class Transport:
    """A client of one endpoint, created at the first call."""

    endpoint: Endpoint
    api: Api
    _stack: ExitStack = field(default_factory=ExitStack)
    _client: openai.AsyncOpenAI | None = None

    def open(self) -> None:
        """Make the client. Raises EndpointError where there is no key."""
        self._open()

    async def close(self) -> None:
        """Close the connections and, where there is one, the embedded teacher."""
        try:
            if self._client is not None:
                await self._client.close()
        finally:
            self._stack.close()

    async def send(self, body: bytes) -> tuple[bytes, Mapping[str, str]]:
        """Send one request; return the reply's bytes and headers within `api.timeout` seconds.

        Raises CallError, and EndpointError where the server refuses whatever it is asked.
        """
        with self.client() as client:
            # the SDK's own timeouts are per read: a reply that drips would never end
            async with asyncio.timeout(self.api.timeout):
                # `post` skips the SDK's typed models (half of a call's CPU); bytes are kept as is
                response = await client.post(
                    self.endpoint.path,
                    cast_to=httpx2.Response,
                    content=body,
                    options={"headers": {"Content-Type": "application/json"}},
                )
                return response.content, response.headers

    @contextmanager
    def client(self) -> Iterator[openai.AsyncOpenAI]:
        """Yield the SDK's client; its errors come out as CallError or EndpointError."""
        client = self._open()
        try:
            yield client
        except openai.APIStatusError as error:
            raise self._refusal(error) from error
        except UnicodeError as error:  # a label of the host is empty or too long
            raise EndpointError(f"{self.who}: the host of base_url is no name: {error}") from error
        except (openai.APIConnectionError, httpx2.HTTPError, TimeoutError) as error:
            refused = self._refused_on_the_way(error)
            if refused is not None:
                raise refused from error
            raise RetryableError(self._without_reply(error), billable=True) from error

    def _refused_on_the_way(self, error: Exception) -> EndpointRefusedError | None:
        """Return the error of a proxy or a certificate, which trying again does not change."""
        for cause in _causes(error):
            if isinstance(cause, ssl.SSLCertVerificationError):
                failure = Failure("certificate", self._shown(cause))
                return EndpointRefusedError(
                    f"{self.who}: {_sentence(failure.detail)} For a private authority set the "
                    "environment variable SSL_CERT_FILE to its certificates (PEM).",
                    failure,
                )
            if getattr(cause, "status", None) == _PROXY_REFUSES:  # aiohttp: answer to CONNECT
                return self._refused_by_proxy("Proxy Authentication Required")
        return None

    def _refused_by_proxy(self, words: str) -> EndpointRefusedError:
        names = _proxy_variables(self.endpoint.base_url)
        name = next(filter(os.environ.get, names), names[0])
        return EndpointRefusedError(
            f"{self.who}: HTTP {_PROXY_REFUSES}: {_sentence(words)} Set ${name} with the user and "
            "password of the proxy (http://user:password@host:port), or exempt the host by "
            "$NO_PROXY.",
            Failure(f"http_{_PROXY_REFUSES}", words),
        )

    def _without_reply(self, error: Exception) -> Failure:
        """Name what kept a reply from being read."""
        if _is_timeout(error):
            return Failure("timeout", f"no reply in {self.api.timeout} s")
        cause = error.__cause__ or error
        unreadable = isinstance(error, _UnreadableError) or isinstance(cause, _UnreadableError)
        return Failure("unreadable_reply" if unreadable else "connection", self._shown(cause))

    async def _bounded(self, response: httpx2.Response) -> None:
        """Let no more of a reply be read than fits: an endless one would fill the memory."""
        if not response.url.path.endswith(self.endpoint.path):
            return  # files of batches are large, and read piece by piece
        packed = response.headers.get("content-encoding", "identity").lower()
        if packed not in (*_ENCODINGS, "identity"):
            raise _UnreadableError(
                f"the reply is packed as {packed[:40]}, which no header asked for"
            )
        pieces = response.aiter_bytes

        async def bounded(chunk_size: int | None = None) -> AsyncGenerator[bytes, None]:
            size = 0
            async for piece in pieces(chunk_size):
                size += len(piece)
                if size > _LARGEST:
                    raise _UnreadableError(f"the reply is larger than {_LARGEST >> 20} MiB")
                yield piece

        response.aiter_bytes = bounded  # type: ignore[method-assign] # what `aread` reads through

    def misconfigured(self, failure: Failure, advice: str = "") -> EndpointRefusedError:
        """Return the error of an endpoint that refuses whatever it is asked."""
        if failure.reason == "foreign_reply":
            return EndpointRefusedError(
                f"{self.who}: the reply is no answer of {self.endpoint.path}, but "
                f"{failure.detail}. Look at base_url in params.yaml: it often ends in /v1.",
                failure,
            )
        status = failure.reason.removeprefix("http_")
        look = "base_url, model and request in params.yaml"
        if status in ("401", "403"):
            variable = self.endpoint.api_key_env
            look = f"the key in ${variable}" if variable else _WITHOUT_KEY
        return EndpointRefusedError(
            f"{self.who}: HTTP {status}: {_sentence(failure.detail)} Look at {look}.{advice}",
            failure,
        )

    def exhausted(self, failure: Failure) -> EndpointRefusedError:
        """Return the error of an account that can pay for nothing more."""
        return EndpointRefusedError(
            f"{self.who}: {_sentence(failure.detail)} Top up the account (or wait for its limit) "
            "and run again.",
            failure,
        )

    def asks_to_wait(self, failure: Failure, seconds: float) -> EndpointRefusedError:
        """Return the error of a server that wants no call for so many seconds."""
        return EndpointRefusedError(
            f"{self.who}: {_sentence(failure.detail)} The server asks to wait for "
            f"{console.duration_text(seconds)}, longer than api.max_request_seconds. Run again "
            "after that time.",
            failure,
        )

    @property
    def who(self) -> str:
        """Model and address, for messages."""
        return f"{self.endpoint.model} at {self.endpoint.base_url}"

    def _open(self) -> openai.AsyncOpenAI:
        if self._client is None:
            address = self._address()
            try:
                self._client = self._connected(address)
            except (OSError, ValueError, httpx2.InvalidURL) as error:
                broken = broken_connection_variable(os.environ) or (
                    f"no connection can be made: {error}. Look at SSL_CERT_FILE, SSL_CERT_DIR and "
                    "the variables of proxies."
                )
                raise EndpointError(f"{self.who}: {broken}") from error
        return self._client

    def _connected(self, address: str) -> openai.AsyncOpenAI:
        limits = httpx2.Limits(
            max_connections=self.api.concurrency, max_keepalive_connections=self.api.concurrency
        )
        return openai.AsyncOpenAI(
            base_url=address,
            api_key=_api_key(self.endpoint),
            default_headers={
                "Accept-Encoding": ", ".join(_ENCODINGS),
                **_headers(self.endpoint),
            },
            default_query=dict(self.endpoint.query),
            max_retries=0,  # those of `request_runner` are the only ones: the SDK's hide 429s
            http_client=openai.DefaultAioHttpClient(
                limits=limits,
                timeout=self.api.timeout,
                # a proxy of the environment is for the world, not for our own child on loopback
                trust_env=self.endpoint.base_url != EMBEDDED,
                event_hooks={"response": [self._bounded]},
            ),
        )

    def _address(self) -> str:
        if self.endpoint.base_url != EMBEDDED:
            return self.endpoint.base_url
        return self._stack.enter_context(server.running())

    def _refusal(self, error: openai.APIStatusError) -> Exception:
        status, words = error.status_code, self._shown(error)
        failure = Failure(f"http_{status}", words)
        after = retry_after(error.response.headers)
        quotas = " ".join(_QUOTA.findall(error.response.text))
        if is_account_trouble(status, f"{words} {quotas}", body_codes(error.response)):
            return self.exhausted(failure)
        if status == _PROXY_REFUSES:
            return self._refused_by_proxy(words)
        if status == 429:
            return ThrottledError(failure, after)
        if status in RETRYABLE_STATUS or status >= 500:
            return RetryableError(failure, after)
        if status == 401 or (status == 404 and _MODEL_IS_GONE.search(words)):
            return self.misconfigured(failure)
        if status == 403 and _MODERATED.search(error.response.text):
            return RefusedError(Failure("moderated", words))
        return RefusedError(failure)

    def _shown(self, error: BaseException) -> str:
        """Return an error's words, clipped after the key is blotted out."""
        return self.without_key(server_words(error))[:_SHOWN]

    def without_key(self, words: str) -> str:
        """Blot the key out: some servers repeat it, and terminals, rows and ledgers are shared."""
        variables = (self.endpoint.api_key_env or "", *self.endpoint.headers.values())
        for key in (os.environ.get(variable, "").strip() for variable in variables):
            words = words.replace(key, "(the key)") if key else words
        return words


def _api_key(endpoint: Endpoint) -> str:
    """Return the key from the environment. Raises EndpointError where it is not set."""
    if endpoint.base_url == EMBEDDED or endpoint.api_key_env is None:
        return "none"
    key = os.environ.get(endpoint.api_key_env, "").strip()  # files bring their line ends
    if not (key.isascii() and key.isprintable()):
        raise EndpointError(
            f"{endpoint.model} at {endpoint.base_url}: what stands in ${endpoint.api_key_env} is "
            "no key: it holds characters that no header can carry. Copy the key again."
        )
    if not key:
        raise EndpointError(
            f"{endpoint.model} at {endpoint.base_url}: no key. "
            f"Set the environment variable {endpoint.api_key_env}, or `api_key_env: null` "
            "for a server that wants none."
        )
    return key


def _headers(endpoint: Endpoint) -> dict[str, str]:
    """Return the further headers, from the environment. Raises EndpointError for one not set."""
    values = {
        name: os.environ.get(variable, "").strip() for name, variable in endpoint.headers.items()
    }
    for name, value in values.items():
        if not (value and value.isascii() and value.isprintable()):
            raise EndpointError(
                f"{endpoint.model} at {endpoint.base_url}: the header {name} has no value. Set the "
                f"environment variable {endpoint.headers[name]} to printable ASCII."
            )
    return values


def _sentence(words: str) -> str:
    """Return a server's words with the full stop that they may lack."""
    return words if words.endswith((".", "!", "?")) else f"{words}."


def _is_timeout(error: BaseException) -> bool:
    """Tell a real timeout: the SDK's transport calls a refused or cut connection one as well."""
    return any(isinstance(cause, TimeoutError) for cause in _causes(error))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what it was raised from, the last first."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _proxy_variables(base_url: str) -> tuple[str, ...]:
    """Return the environment variables that name a proxy for an address, the usual one first."""
    name = f"{base_url.partition(':')[0]}_proxy"
    return name.upper(), name, "ALL_PROXY", "all_proxy"
