"""A generator for tests and benches: composes varied tasks from lists of phrases, by seed.

It reads the bootstrap's prompt as a model does, by its marks alone. Like a model it also errs: it
repeats what it was shown with a word changed, answers too shortly, or forgets a mark. The same
request always gets the same reply. Nothing here imports lion.
"""

import random
import re
from collections.abc import Iterator
from typing import Any

_WANTED = re.compile(r"Write the tasks (\d+) to (\d+)")
_FENCE = re.compile(r"^\[Task 1 (\w+)\]$", re.MULTILINE)

_OPENINGS = [
    "Write a short report on",
    "Explain to a newcomer",
    "List five little-known facts about",
    "Draft an angry letter concerning",
    "Compose a ballad in praise of",
    "Plan a two-day workshop around",
    "Give a critical account of",
    "Suggest a budget for",
    "Prepare quiz questions on",
    "Outline the history of",
    "Invent a myth that accounts for",
    "Describe the smell and the sound of",
    "Work out a timetable for",
    "Interview an imaginary expert on",
    "Translate into plain words what is known of",
    "Debate with yourself the future of",
    "Sketch a poster that advertises",
    "Correct three common errors about",
    "Estimate the yearly cost of",
    "Tell a joke involving",
]
_LABELLINGS = [
    "Decide whether it is safe, risky or unknown:",
    "Label as fact or opinion:",
    "Which of red, amber or green fits this report?",
    "True or false?",
    "Sort under urban, rural or coastal:",
    "Is the tone friendly, neutral or hostile?",
    "Pick the season (spring, summer, autumn, winter) that suits:",
    "Mark as old, modern or timeless:",
    "Classify by size, being small, medium or large:",
    "Would an insurer accept, refuse or ask back?",
    "Say which sense is meant, literal or figurative, in:",
    "Assign low, middle or high priority to this note:",
]
_THINGS = [
    "lighthouse keepers",
    "sourdough starters",
    "tram timetables",
    "salt marshes",
    "bell foundries",
    "paper kites",
    "glacier caves",
    "railway clocks",
    "honey badgers",
    "rooftop gardens",
    "violin varnish",
    "desert caravans",
    "coral nurseries",
    "chess problems",
    "weather balloons",
    "river ferries",
    "stained glass",
    "peat bogs",
    "origami cranes",
    "night markets",
    "beekeeping gloves",
    "lunar eclipses",
    "ski lifts",
    "mosaic floors",
    "pepper trade",
    "sign languages",
    "walnut orchards",
    "radio telescopes",
    "fishing nets",
    "ice hotels",
    "puppet theatres",
    "canal locks",
    "volcanic soils",
    "tax forms",
    "carrier pigeons",
    "school choirs",
    "mangrove roots",
    "wind tunnels",
    "cuckoo clocks",
    "solar ovens",
    "tea ceremonies",
    "barn owls",
    "library cats",
    "amber jewellery",
    "hot springs",
    "street chess",
    "mirror makers",
    "wool carding",
    "flood gates",
    "apple grafting",
]
_SETTINGS = [
    "in a mountain village without electricity",
    "for an audience of retired engineers",
    "during the longest night of the year",
    "seen through the eyes of a child",
    "when money is short and time is plentiful",
    "as a medieval chronicler might have put it",
    "on an island that nobody visits",
    "after the archive burned down",
    "in the last week before elections",
    "where two languages are spoken",
    "given only what a suitcase holds",
    "under the rules of an old guild",
    "for readers who distrust experts",
    "while the harbour is closed by storms",
    "as part of an apprentice's final examination",
    "in a city built on stilts",
    "from the viewpoint of an accountant",
    "at the height of a heat wave",
    "between two rival families",
    "for somebody who cannot see",
]
_FORMS = [
    "Use a table of three columns.",
    "Keep below ninety words.",
    "Finish with an open question.",
    "Avoid every adjective.",
    "Number your points.",
    "Answer as JSON with two keys.",
    "Cite one imaginary source.",
    "Start from the end.",
    "Begin each line with another letter.",
    "Address a hostile reader.",
    "Give one counterexample.",
    "Mention exactly two dates.",
    "Let a proverb close it.",
    "Round all figures to tens.",
    "Contrast it with its opposite.",
    "Put the main point last.",
    "Add a warning for beginners.",
    "Offer two variants, one formal.",
    "Leave out whatever is obvious.",
    "State your assumptions first.",
]


def compose(body: dict[str, Any]) -> str:
    """Return the reply to a bootstrap's request: as many tasks as its prompt asks for."""
    prompt = body["messages"][-1]["content"]
    wanted, fence = _WANTED.search(prompt), _FENCE.search(prompt)
    assert wanted is not None and fence is not None, prompt
    rng = random.Random(f"{body.get('seed')}/{prompt}")
    labelling = "classification task" in prompt.partition("[Task 1 ")[0]
    shown = re.split(r"^\[Task \d+ \w+\]\n", prompt, flags=re.MULTILINE)[1:]
    numbers = range(int(wanted[1]), int(wanted[2]) + 1)
    return "\n\n".join(_told(rng, numbers, fence[1], labelling, shown))


def _told(
    rng: random.Random, numbers: range, fence: str, labelling: bool, shown: list[str]
) -> Iterator[str]:
    for number in numbers:
        luck = rng.random()
        text = _task(rng, labelling)
        if luck < 0.04:
            text = f"{rng.choice(shown).strip()} Please."
        elif luck < 0.06:
            text = "Go on."
        yield text if 0.06 <= luck < 0.07 else f"[Task {number} {fence}]\n{text}"


def _task(rng: random.Random, labelling: bool) -> str:
    thing, other = rng.sample(_THINGS, 2)
    setting = rng.choice(_SETTINGS)
    if labelling:
        third, fourth = rng.choice(_THINGS), rng.choice(_SETTINGS)
        told = f"{thing.capitalize()} beside {other} {setting}, then {third} {fourth}."
        return f'{rng.choice(_LABELLINGS)} "{told}"'
    parts = [f"{rng.choice(_OPENINGS)} {thing} and {other} {setting}.", *rng.sample(_FORMS, 2)]
    return " ".join(parts)
