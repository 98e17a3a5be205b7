"""Remotes that a team shares: a folder, a bucket (moto's S3), a server with SSH (asyncssh's SFTP).

Each is real and on loopback. Claims nothing itself.
"""

import asyncio
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from pipeline import Project

_USER = "a-colleague"


@dataclass(frozen=True, slots=True)
class Remote:
    """A remote's address; `shared` goes into git, `private` into each clone's .dvc/config.local."""

    url: str
    folder: Path
    shared: Mapping[str, str]
    private: Mapping[str, str]

    def name_in(self, project: Project) -> None:
        """Tell a project of the remote, for git."""
        _done(project, "add", "--default", "team", self.url)
        for key, value in self.shared.items():
            _done(project, "modify", "team", key, value)

    def unlock_in(self, project: Project) -> None:
        """Give a clone what is in no commit."""
        for key, value in self.private.items():
            _done(project, "modify", "--local", "team", key, value)


def _done(project: Project, *arguments: str) -> None:
    done = project.dvc("remote", *arguments)
    assert done.code == 0, done.output


@contextmanager
def folder(root: Path) -> Iterator[Remote]:
    """Yield a folder that all see."""
    yield Remote(str(root / "remote"), root / "remote", {}, {})


@contextmanager
def bucket(root: Path) -> Iterator[Remote]:
    """Yield a bucket of a server that speaks S3. Its objects lie in memory."""
    pytest.importorskip("dvc_s3")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    boto3 = pytest.importorskip("boto3")
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    keys = {"access_key_id": "a-key", "secret_access_key": secrets.token_hex(8)}
    try:
        boto3.client(
            "s3",
            endpoint_url=address,
            region_name="us-east-1",
            **{f"aws_{name}": value for name, value in keys.items()},
        ).create_bucket(Bucket="team")
        yield Remote("s3://team/lion", root, {"endpointurl": address, "region": "us-east-1"}, keys)
    finally:
        server.stop()


@contextmanager
def ssh(root: Path) -> Iterator[Remote]:
    """Yield a server with SFTP and a password."""
    pytest.importorskip("dvc_ssh")
    asyncssh = pytest.importorskip("asyncssh")
    password, there = secrets.token_hex(8), root / "server"
    there.mkdir()

    class Server(asyncssh.SSHServer):  # type: ignore[misc]  # the library has no types here
        def begin_auth(self, _username: str) -> bool:
            return True

        def password_auth_supported(self) -> bool:
            return True

        def validate_password(self, username: str, given: str) -> bool:
            return (username, given) == (_USER, password)

    def files(channel: object) -> object:
        return asyncssh.SFTPServer(channel, chroot=str(there).encode())

    async def listen() -> int:
        made = await asyncssh.create_server(
            Server,
            "127.0.0.1",
            0,
            server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
            sftp_factory=files,
        )
        return int(made.get_port())

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        port = asyncio.run_coroutine_threadsafe(listen(), loop).result(30)
        url = f"ssh://{_USER}@127.0.0.1:{port}/srv/lion"
        yield Remote(url, there, {}, {"password": password})
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)


REMOTES: Mapping[str, Callable[[Path], AbstractContextManager[Remote]]] = {
    "folder": folder,
    "bucket": bucket,
    "ssh": ssh,
}
