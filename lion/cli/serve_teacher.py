"""`lion serve-teacher`: the embedded teacher, for any client."""

import os

import click

from lion import console
from lion.config.addresses import TOKEN
from lion.simulator import server


@click.command("serve-teacher")
@click.option("--port", type=click.IntRange(0, 65535), default=8099, show_default=True)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
def serve_teacher_command(port: int, host: str) -> None:
    """Serve the embedded teacher to any client of the chat-completions protocol.

    \b
    lion serve-teacher --port 8099
    curl localhost:8099/v1/chat/completions -d '{"model": "oracle-1", "messages":
      [{"role": "user", "content": "Reverse the letters: c a f b"}]}'

    On another address than loopback clients have to send the token in LION_SERVER_TOKEN.
    """
    with console.error_boundary():
        server.serve_teacher(host, port, os.environ.get(TOKEN))
