"""Embeddings come from a folder or from an endpoint; what they cost is accounted for."""

import base64
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from fake_server import Behaviour, Call, ChatServer, embeds, refuses
from fixtures import Configure

from lion.config.settings import EmbeddingEndpoint, NearDuplicates
from lion.errors import BudgetError, ModelError, SettingsError, TooManyDroppedError
from lion.generation.filters import near_duplicates
from lion.generation.filters.near_duplicates import Encoder, EndpointEncoder
from lion.llm.caps import Cap
from lion.llm.client import LLMClient
from lion.llm.ledger import Ledger
from lion.llm.prices import Price, Prices
from lion.prompting import protocol
from lion.prompting.protocol import Failure, Reply

TEXTS = ["Name a bird.", "Name a bird, please, and say where it sings and when.", "2 + 2 = ?"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.encoder(tmp_path_factory.mktemp("encoder"))


def server(url: str, **changes: Any) -> EmbeddingEndpoint:
    values = {"base_url": url, "model": "e-1", "api_key_env": None, "request": {}}
    return EmbeddingEndpoint(**{**values, **changes})


@pytest.fixture
def open_(configure: Configure, chat_server: ChatServer, tmp_path: Path) -> Iterator[Any]:
    api = configure({"api.tries": 2, "api.max_wait": 0.05}).api

    with Ledger(tmp_path / "ledger.sqlite") as ledger:

        def made(cap: Cap | None = None, prices: Prices | None = None) -> LLMClient:
            told = {"cap": cap or Cap(), "prices": prices or Prices({})}
            return LLMClient(server(chat_server.url), api, ledger, 0, **told)

        yield made


def counted(call: Call) -> Behaviour:
    """Embed a text as the number of its letters and of its spaces."""
    text = call.body["input"]
    return embeds([len(text), text.count(" ") + 1])


def test_a_folder_is_pooled_as_its_own_files_say(folder: Path) -> None:
    """The oracle: the mean of the last states where the mask is 1, by transformers itself."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    found = Encoder.load(folder).embed(TEXTS)
    model, tokenizer = AutoModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    for text, vector in zip(TEXTS, found, strict=True):
        tokens = tokenizer(text, return_tensors="pt")
        with torch.no_grad():
            states = model(**tokens).last_hidden_state[0]
        assert np.allclose(vector, states.mean(dim=0).numpy(), atol=1e-5)


def test_a_folder_that_is_no_encoder_says_so(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="sentence encoder"):
        Encoder.load(tmp_path)


def test_problems_are_found_without_loading(folder: Path, tmp_path: Path) -> None:
    def told(path: Path) -> list[str]:
        gate = NearDuplicates(model=str(path), endpoint=None, limit=0.9)
        return list(near_duplicates.encoder_problems("generate.near_duplicates", gate))

    assert told(folder) == []
    assert "no *.safetensors" in told(tmp_path)[0]
    assert "there is no folder" in told(tmp_path / "absent")[0]


def test_an_endpoint_is_asked_for_each_text_once(chat_server: ChatServer, open_: Any) -> None:
    chat_server.answer = counted
    with open_() as client:
        asked = EndpointEncoder(client, 0)
        found = asked.embed(TEXTS)
        again = asked.embed(TEXTS[::-1])
        assert len(chat_server.calls) == client.ledger.count() == 3
    assert [vector.tolist() for vector in found] == [[12, 3], [53, 11], [9, 5]]
    assert [vector.tolist() for vector in again] == [[9, 5], [53, 11], [12, 3]]
    assert {call.raw for call in chat_server.calls} == {
        protocol.canonical({"model": "e-1", "input": text}) for text in TEXTS
    }
    assert asked.used().prompt_tokens == 2 * 3 * 4
    assert asked.used().replies_without_usage == 0


def test_money_is_reckoned_and_capped_as_for_other_calls(
    chat_server: ChatServer, open_: Any
) -> None:
    """Nothing is written, so no cap on what is written is asked for."""
    chat_server.answer = counted
    prices = Prices({"e-1": Price(input=1.0, output=100.0)})
    with open_(Cap(calls=2), prices) as client, pytest.raises(BudgetError, match="reached"):
        EndpointEncoder(client, 0).embed(TEXTS)
    assert len(chat_server.calls) == 2
    assert client.usage.nanodollars == 2 * 4 * 1000


def test_too_many_failures_end_the_asking(chat_server: ChatServer, open_: Any) -> None:
    chat_server.answer = lambda call: counted(call) if call.number % 2 else refuses(400, "Long.")
    with open_() as client:
        found = EndpointEncoder(client, 1).embed(TEXTS)
        assert [type(one) for one in found].count(Failure) == 1
        with pytest.raises(TooManyDroppedError):
            EndpointEncoder(client, 1).embed([f"{text}!" for text in TEXTS])


@pytest.mark.parametrize("numbers", [[0.5, -2.0, 3.25], [1e30, 1.0, 0.0]])
def test_numbers_and_base64_are_the_same_embedding(numbers: list[float]) -> None:
    packed = base64.b64encode(struct.pack("<3f", *numbers)).decode()
    one, two = protocol.parse(embeds(numbers).body), protocol.parse(embeds(packed).body)
    assert isinstance(one, Reply)
    assert one == two
    assert one.text == packed


@pytest.mark.parametrize(
    "body",
    [
        embeds([]).body,
        embeds([0.0, 0.0]).body,
        embeds([1e300]).body,
        embeds("no base64!").body,
        embeds("AAA=").body,
        embeds(base64.b64encode(struct.pack("<f", float("nan"))).decode()).body,
        b'{"data": []}',
        b'{"data": [{"embedding": null}]}',
        b'{"data": [{"embedding": ["1"]}]}',
        b'{"data": [{"embedding": {"0": 1}}]}',
        b'{"data": null}',
        b"null",
    ],
)
def test_what_is_no_embedding_is_a_failure(body: bytes) -> None:
    found = protocol.parse(body)
    assert isinstance(found, Failure)
    assert found.reason == "malformed_reply"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"model": None, "endpoint": None}, "exactly one"),
        ({"endpoint": {"base_url": "embedded", "model": "m"}}, "makes no embeddings"),
        ({"limit": 0.0}, "limit"),
    ],
)
def test_params_that_name_no_source_or_two_are_refused(
    configure: Configure, changes: dict[str, Any], told: str
) -> None:
    gate = {"model": "encoder", "endpoint": None, "limit": 0.9, **changes}
    if gate["endpoint"]:
        gate |= {
            "model": None,
            "endpoint": {"api_key_env": None, "request": {}, **gate["endpoint"]},
        }
    with pytest.raises(SettingsError, match=told):
        configure({"generate.near_duplicates": gate})
