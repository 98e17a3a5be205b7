"""Endpoints behind proxies and with private certificates, as companies have them; over sockets."""

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from asking import Open, ask_for, kept, texts
from fake_server import ChatServer
from fake_server.proxy import Proxy

from lion.errors import EndpointError
from lion.prompting.protocol import Failure

KEY = "sk-planted-77aa"
HOST = "teacher.example"  # no name server knows it: the proxy alone leads there


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", KEY)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Return a certificate authority that no machine trusts."""
    return trustme.CA()


@pytest.fixture
def bundle(authority: trustme.CA, tmp_path: Path) -> str:
    """Return the path of the authority's certificate."""
    path = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture
def https_server(authority: trustme.CA) -> Iterator[ChatServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST, "127.0.0.1").configure_cert(context)
    with ChatServer.running(context) as server:
        yield server


def test_a_private_certificate_is_trusted_by_the_variable_of_openssl(
    https_server: ChatServer, bundle: str, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", bundle)
    with opened(base_url=https_server.url, api_key_env="SOME_KEY") as client:
        assert texts(client.complete([ask_for(1)])) == ["to: q1"]


def test_a_certificate_that_is_not_trusted_stops_with_the_variable_that_helps(
    https_server: ChatServer, opened: Open
) -> None:
    with (
        opened(base_url=https_server.url, api_key_env="SOME_KEY", concurrency=1) as client,
        pytest.raises(EndpointError, match=r"certificate verify failed.*SSL_CERT_FILE") as caught,
    ):
        client.complete([ask_for(number) for number in range(9)])
    assert https_server.calls == []
    assert "private authority" in str(caught.value)
    assert client.usage.calls == 1, "trying again would not help"


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("SSL_CERT_FILE", "/nowhere", "SSL_CERT_FILE is /nowhere, which does not exist"),
        ("SSL_CERT_FILE", __file__, "Look at SSL_CERT_FILE"),
        ("HTTPS_PROXY", "http://proxy:abc", "HTTPS_PROXY is no address of a proxy"),
        ("ALL_PROXY", "htp://proxy:1", "ALL_PROXY is no address of a proxy"),
    ],
)
def test_a_variable_that_keeps_an_endpoint_from_being_reached_is_named(
    variable: str, value: str, words: str, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before: tracebacks, in `lion check` and in every stage."""
    monkeypatch.setenv(variable, value)
    with (
        opened(base_url="https://127.0.0.1:9/v1", api_key_env=None) as client,
        pytest.raises(EndpointError, match=words),
    ):
        client.complete([ask_for(1)])


def test_a_host_that_is_no_name_is_an_error_of_the_endpoint(opened: Open) -> None:
    with (
        opened(base_url="http://exa..mple/v1") as client,
        pytest.raises(EndpointError, match="host"),
    ):
        client.complete([ask_for(1)])


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_a_proxy_of_the_environment_leads_to_an_https_endpoint_and_reads_nothing(
    variable: str,
    https_server: ChatServer,
    bundle: str,
    opened: Open,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", bundle)
    with Proxy.running(https_server.port) as proxy:
        monkeypatch.setenv(variable, proxy.url)
        with opened(base_url=f"https://{HOST}/v1", api_key_env="SOME_KEY") as client:
            assert texts(client.complete([ask_for(number) for number in range(5)])) == [
                f"to: q{number}" for number in range(5)
            ]
    assert set(proxy.targets) == {f"CONNECT {HOST}:443"}
    assert https_server.calls[0].headers["Authorization"] == f"Bearer {KEY}"
    assert KEY.encode() not in proxy.seen


def test_a_proxy_of_the_environment_leads_to_an_http_endpoint(
    chat_server: ChatServer, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Proxy.running(chat_server.port) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        with opened(base_url=f"http://{HOST}:8000/v1") as client:
            assert texts(client.complete([ask_for(1)])) == ["to: q1"]
    assert proxy.targets == [f"POST http://{HOST}:8000/v1/chat/completions"]


@pytest.mark.parametrize("exempt", ["127.0.0.1", "localhost,127.0.0.1", "*"])
def test_a_host_that_is_exempt_is_asked_without_the_proxy(
    exempt: str, chat_server: ChatServer, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Proxy.running(chat_server.port) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", exempt)
        with opened() as client:
            assert texts(client.complete([ask_for(1)])) == ["to: q1"]
    assert proxy.heads == []


# openai's transport calls it (its _vendor/httpx_aiohttp)
own_call = pytest.mark.filterwarnings("ignore:.*encode_basic_auth:DeprecationWarning")


@own_call
def test_the_password_of_a_proxy_is_sent_to_it_and_written_nowhere(
    chat_server: ChatServer, opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Proxy.running(chat_server.port) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url.replace("://", "://anna:proxy-secret-5@"))
        with opened(base_url=f"http://{HOST}/v1") as client:
            assert texts(client.complete([ask_for(1)])) == ["to: q1"]
        proxy.refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
        with (
            opened(base_url=f"http://{HOST}/v1") as client,
            pytest.raises(
                EndpointError, match=r"407: Proxy Authentication.*\$HTTP_PROXY"
            ) as caught,
        ):
            client.complete([ask_for(2)])
    assert b"Proxy-Authorization: Basic" in proxy.heads[0]
    assert "proxy-secret-5" not in str(caught.value)
    assert kept(tmp_path) == 1
    assert not [
        path
        for path in tmp_path.rglob("*")
        if path.is_file() and b"proxy-secret" in path.read_bytes()
    ]


def test_a_proxy_that_refuses_a_tunnel_is_named_by_its_variable_after_one_call(
    chat_server: ChatServer, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Proxy.running(chat_server.port) as proxy:
        proxy.refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with (
            opened(base_url=f"https://{HOST}/v1", concurrency=1) as client,
            pytest.raises(EndpointError, match=r"407: Proxy Authentication.*\$HTTPS_PROXY"),
        ):
            client.complete([ask_for(number) for number in range(9)])
    assert len(proxy.heads) == 1


@own_call
def test_a_proxy_that_is_not_there_is_a_connection_failure_without_its_password(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://anna:proxy-secret-5@127.0.0.1:9")
    with opened(base_url=f"https://{HOST}/v1", tries=1) as client:
        (outcome,) = client.complete([ask_for(1)])
    assert isinstance(outcome, Failure)
    assert outcome.reason == "connection"
    assert "127.0.0.1" in outcome.detail
    assert "proxy-secret-5" not in outcome.detail
