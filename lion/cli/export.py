"""`lion export`: a student for others, as merged weights and a model card."""

from pathlib import Path

import click

from lion import console
from lion.cli.students import chosen_student, iteration_option
from lion.reporting import model_card
from lion.serving import export
from lion.student import checkpoint


@click.command("export")
@click.argument("out", type=click.Path(path_type=Path))
@iteration_option
@click.option("--licence", help="The student's, for the card; else the base model's own.")
def export_command(out: Path, iteration: str | None, licence: str | None) -> None:
    """Write a student to OUT, ready for `from_pretrained`, vLLM and converters to GGUF.

    Its model card tells data, lineage, scores, params and licences, filled in from the run.
    """
    with console.error_boundary():
        settings, name, folder = chosen_student(iteration)
        text = model_card.model_card(settings, name, licence)
        checkpoint.load_libraries()
        export.export_student(folder, settings.student, out)
        (out / "README.md").write_text(text, encoding="utf-8")
        console.say(f"student {name} is in {out}; README.md is its model card")
