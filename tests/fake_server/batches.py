"""The endpoint with a Batch API: files and batches as OpenAI's API reference describes them.

A batch does nothing until the test lets it: `end` answers its requests as `answer` says and puts
the lines into files, in another order. `traps` are called at named points of the protocol, so that
a test can end the client there.
"""

import json
import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from fake_server.behaviour import Behaviour, Call, perform, refuses
from fake_server.server import ChatServer

PAGE = 2  # batches that a page of the list holds at most


@dataclass
class BatchServer(ChatServer):
    """A running server; `batches` and `files` are what clients made, by id."""

    files: dict[str, bytes] = field(default_factory=dict)
    batches: dict[str, dict[str, Any]] = field(default_factory=dict)
    done: Counter[str] = field(default_factory=Counter)
    traps: dict[str, Callable[[], None]] = field(default_factory=dict)
    echoes_metadata: bool = True
    refuses_next: list[Behaviour] = field(default_factory=list)

    def route(self, router: web.UrlDispatcher) -> None:
        super().route(router)
        router.add_post("/v1/files", self._upload)
        router.add_get("/v1/files/{id}/content", self._content)
        router.add_post("/v1/batches", self._create)
        router.add_get("/v1/batches", self._list)
        router.add_get("/v1/batches/{id}", self._retrieve)

    # --- what a test does ------------------------------------------------------------------

    @property
    def open(self) -> list[str]:
        """Return the batches that have not ended, the oldest first."""
        ended = ("completed", "failed", "expired", "cancelled")
        return [name for name, one in self.batches.items() if one["status"] not in ended]

    def asked(self, name: str) -> list[dict[str, Any]]:
        """Return the lines of a batch's input file."""
        raw = self.files[self.batches[name]["input_file_id"]]
        return [json.loads(line) for line in raw.splitlines()]

    def end(self, status: str = "completed", *, only: Callable[[str], bool] | None = None) -> None:
        """End every open batch: answer the questions for which `only` holds, or all.

        The others get a line with the error of an ended batch where it expired, and none otherwise.
        """
        for name in self.open:
            answered: list[dict[str, Any]] = []
            failed: list[dict[str, Any]] = []
            for line in self.asked(name):
                question = str(line["body"]["messages"][-1]["content"])
                if only is None or only(question):
                    succeeded, answer = self._answer(line)
                    (answered if succeeded else failed).append(answer)
                elif status == "expired":
                    failed.append(_error(line, "batch_expired", "It was not executed in time."))
            self._file(name, status, answered, failed)

    def fail(self, code: str, message: str) -> None:
        """Let every open batch fail before it begins."""
        for name in self.open:
            errors = {"object": "list", "data": [{"code": code, "message": message, "line": None}]}
            self.batches[name] |= {"status": "failed", "errors": errors}

    def _answer(self, line: Mapping[str, Any]) -> tuple[bool, dict[str, Any]]:
        self.done[line["custom_id"]] += 1
        call = Call(sum(self.done.values()), json.dumps(line["body"]).encode(), {}, 0.0)
        behaviour = self.behaviour(call)
        response = {
            "status_code": behaviour.status,
            "request_id": "req_1",
            "body": json.loads(behaviour.body),
        }
        whole = {"id": "batch_req_1", "custom_id": line["custom_id"], "error": None}
        return behaviour.status == 200, {**whole, "response": response}

    def _file(
        self, name: str, status: str, answered: list[dict[str, Any]], failed: list[dict[str, Any]]
    ) -> None:
        batch = self.batches[name]
        for key, lines in (("output_file_id", answered), ("error_file_id", failed)):
            random.Random(3).shuffle(lines)
            if lines:
                batch[key] = f"file-{len(self.files) + 1}"
                text = "\n".join(json.dumps(line, ensure_ascii=False) for line in lines)
                self.files[batch[key]] = text.encode() + b"\n"
        counts = {"completed": len(answered), "failed": len(failed)}
        batch |= {"status": status, "request_counts": {**batch["request_counts"], **counts}}

    # --- the protocol ----------------------------------------------------------------------

    def _at(self, point: str) -> None:
        if point in self.traps:
            self.traps.pop(point)()

    async def _upload(self, request: web.Request) -> web.StreamResponse:
        if self.refuses_next:
            return await perform(request, self.refuses_next.pop(0))
        form = await request.post()
        self._at("upload")
        assert form["purpose"] == "batch"
        file = form["file"]
        assert isinstance(file, web.FileField)
        name = f"file-{len(self.files) + 1}"
        self.files[name] = file.file.read()
        self._at("uploaded")
        return web.json_response(
            {
                "id": name,
                "object": "file",
                "bytes": len(self.files[name]),
                "created_at": 1,
                "filename": file.filename,
                "purpose": "batch",
                "status": "processed",
            }
        )

    async def _content(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["id"]
        raw = self.files.get(name)
        if raw is None:
            return await _not_found(request)
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(raw[: len(raw) // 2])
        is_error_file = any(one.get("error_file_id") == name for one in self.batches.values())
        self._at("errors" if is_error_file else "content")
        await response.write(raw[len(raw) // 2 :])
        return response

    async def _create(self, request: web.Request) -> web.Response:
        body = await request.json()
        self._at("create")
        assert body["completion_window"] == "24h"
        assert body["endpoint"] == "/v1/chat/completions"
        name = f"batch_{len(self.batches) + 1}"
        self.batches[name] = {
            "id": name,
            "object": "batch",
            "endpoint": body["endpoint"],
            "completion_window": "24h",
            "input_file_id": body["input_file_id"],
            "output_file_id": None,
            "error_file_id": None,
            "errors": None,
            "status": "validating",
            "created_at": 1_790_000_000,
            "expires_at": 1_790_086_400,
            "metadata": body.get("metadata") if self.echoes_metadata else None,
        }
        lines = self.asked(name)
        assert len({line["custom_id"] for line in lines}) == len(lines)
        assert {line["url"] for line in lines} == {body["endpoint"]}
        assert {line["method"] for line in lines} == {"POST"}
        counts = {"total": len(lines), "completed": 0, "failed": 0}
        self.batches[name]["request_counts"] = counts
        self._at("created")
        return web.json_response(self.batches[name])

    async def _list(self, request: web.Request) -> web.Response:
        """Page through the batches, the newest first."""
        names = list(reversed(self.batches))
        after = request.query.get("after")
        start = names.index(after) + 1 if after else 0
        page = names[start : start + min(PAGE, int(request.query.get("limit", "20")))]
        return web.json_response(
            {
                "object": "list",
                "data": [self.batches[name] for name in page],
                "first_id": page[0] if page else None,
                "last_id": page[-1] if page else None,
                "has_more": start + len(page) < len(names),
            }
        )

    async def _retrieve(self, request: web.Request) -> web.StreamResponse:
        batch = self.batches.get(request.match_info["id"])
        return web.json_response(batch) if batch is not None else await _not_found(request)


def _error(line: Mapping[str, Any], code: str, message: str) -> dict[str, Any]:
    error = {"code": code, "message": message}
    return {"id": "r", "custom_id": line["custom_id"], "response": None, "error": error}


async def _not_found(request: web.Request) -> web.StreamResponse:
    return await perform(request, refuses(404, f"No such object: {request.match_info['id']}"))
