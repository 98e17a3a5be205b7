"""`lion plan`: calls, tokens and cost of the remaining stages."""

from collections.abc import Collection

import click

from lion import console
from lion.config import project
from lion.llm.ledger import Ledger
from lion.llm.prices import Prices
from lion.pipeline import dvc_graph, plan
from lion.pipeline.checks import student
from lion.pipeline.checks.replay_notices import replay_notices
from lion.pipeline.checks.student_notices import student_notices
from lion.pipeline.rehearsal import rehearse
from lion.reporting import costs


@click.command("plan")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def plan_command(as_json: bool) -> None:
    """Print what `dvc repro` would ask, with calls, tokens, money and time. Sends no request.

    Exact up to the first stage whose replies are not in the ledger, estimated behind it. An unknown
    price is shown as unknown, not as 0; prices.yaml adds what the price package lacks.
    """
    with console.error_boundary():
        settings = project.load_settings()
        prices = Prices.load(project.PRICES)
        with Ledger(project.ledger()) as ledger:
            remaining = dvc_graph.remaining_stages()
            certain = rehearse(settings, remaining, ledger)
            needs = plan.plan(settings, remaining, certain, prices)
            spent, reserved = ledger.spent()
        if as_json:
            click.echo(costs.plan_as_json(needs))
        else:
            console.stdout.print(costs.plan_table(needs, spent, reserved, settings.budget))
            room = student.disk_needed(settings, ask_hub=False)
            notices = (
                [*student_notices(settings, ask_hub=False), *replay_notices(settings)]
                if _tunes(remaining)
                else []
            )
            for words in (*notices, costs.disk_sentence(room, settings.student.model)):
                console.stdout.print(words, markup=False)


def _tunes(remaining: Collection[str]) -> bool:
    return any(stage.startswith("tune@") for stage in remaining)
