"""`lion serve-student`: a student, for any client."""

import sys

import click

from lion import console
from lion.cli.students import chosen_student, iteration_option
from lion.serving import server
from lion.student import checkpoint


@click.command("serve-student")
@iteration_option
@click.option("--port", type=click.IntRange(1, 65535), default=8098, show_default=True)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
def serve_student_command(iteration: str | None, port: int, host: str) -> None:
    """Serve a student by vLLM where it is installed, else by `transformers serve`.

    `student.endpoint` in params.yaml lets `dvc repro` answer through it. On another address than
    loopback clients have to send the token in LION_SERVER_TOKEN, which vLLM alone can ask for.
    """
    with console.error_boundary():
        settings, name, folder = chosen_student(iteration)
        checkpoint.load_libraries()
        sys.exit(server.serve_student(folder, name, settings, host, port))
