"""The wordings of the simulated support tickets: kinds of matter, cues of urgency, numbers, noise.

`tickets` draws and reads them. Words are few, so that the tiny student sees each often enough.
"""

from dataclasses import dataclass

THINGS = (
    "lamp",
    "chair",
    "kettle",
    "tent",
    "radio",
    "clock",
    "sofa",
    "grill",
    "fan",
    "phone",
    "watch",
    "mixer",
    "drill",
    "bag",
    "desk",
    "bed",
    "rug",
    "mug",
    "heater",
    "mirror",
    "ladder",
    "bike",
    "scale",
    "toaster",
)
LABELS = ("delivery", "refund", "defect", "account", "invoice", "cancel")


@dataclass(frozen=True, slots=True)
class TicketKind:
    """A kind of matter. `rank` 1 is the most common; `{thing}` is what was bought.

    `plain` wordings name the matter, `indirect` ones describe it.
    """

    name: str
    label: str
    rank: int
    subject: str
    plain: tuple[str, ...]
    indirect: tuple[str, ...]


_KINDS = (
    (
        "late parcel",
        "delivery",
        "Delivery of my {thing}",
        ("the {thing} has not arrived", "the delivery of the {thing} is late"),
        ("I still wait for the {thing}", "no {thing} came by now"),
    ),
    (
        "money back",
        "refund",
        "Refund for a {thing}",
        ("please refund the {thing}", "I want a refund for the {thing}"),
        ("I want the money for the {thing} back", "please pay me back for the {thing}"),
    ),
    (
        "came broken",
        "defect",
        "Broken {thing}",
        ("the {thing} came broken", "the {thing} was broken in the box"),
        ("I found the {thing} in two pieces", "the {thing} has a crack"),
    ),
    (
        "login fails",
        "account",
        "Login",
        ("the login fails when I look for my {thing}", "I cannot log in to see my {thing}"),
        ("the site does not let me in to see my {thing}", "my password does not open my {thing}"),
    ),
    (
        "wrong amount",
        "invoice",
        "Invoice for a {thing}",
        ("the invoice for the {thing} is wrong", "the amount on the invoice of the {thing} is off"),
        ("the {thing} was cheaper in the shop than on paper", "you ask too much for the {thing}"),
    ),
    (
        "stop order",
        "cancel",
        "Cancel my {thing}",
        ("please cancel the {thing}", "I want to cancel the {thing}"),
        ("I do not need the {thing} any more", "do not send the {thing}"),
    ),
    (
        "stopped working",
        "defect",
        "{thing} does not work",
        ("the {thing} stopped working", "the {thing} does not work any more"),
        ("the {thing} went dead after a week", "the {thing} makes a noise and then nothing"),
    ),
    (
        "wrong address",
        "delivery",
        "Address for the {thing}",
        ("the {thing} goes to a wrong address", "please change the address for the {thing}"),
        ("I moved before the {thing} was sent", "the {thing} should go to my new home"),
    ),
    (
        "returned",
        "refund",
        "Returned {thing}",
        ("I returned the {thing} and got no refund", "the refund of the returned {thing} is open"),
        ("you have the {thing} again and the money too", "I sent the {thing} back for nothing"),
    ),
    (
        "charged twice",
        "invoice",
        "Two invoices for one {thing}",
        ("I have two invoices for one {thing}", "you charged the {thing} twice"),
        ("my bank paid the {thing} two times", "the {thing} is on my card again"),
    ),
    (
        "close account",
        "account",
        "Close my account",
        ("close my account after the {thing}", "after the {thing} delete my account"),
        ("forget all data of me after the {thing}", "the {thing} was my last visit, remove me"),
    ),
    (
        "monthly plan",
        "cancel",
        "End of the {thing} plan",
        ("please cancel the monthly {thing} plan", "I end the {thing} plan"),
        ("no more {thing} each month", "let the {thing} plan run out"),
    ),
    (
        "missing part",
        "defect",
        "Part of the {thing}",
        ("a part of the {thing} is missing", "the {thing} has a part too few"),
        ("I cannot build the {thing} without its screws", "there is a hole where the {thing} ends"),
    ),
    (
        "at a neighbour",
        "delivery",
        "Who has my {thing}?",
        ("the {thing} was left at a neighbour", "the driver gave the {thing} to a neighbour"),
        ("some family next door has the {thing}", "the note for the {thing} has no house on it"),
    ),
    (
        "voucher",
        "refund",
        "Voucher for the {thing}",
        ("I got a voucher and no refund for the {thing}", "a voucher is no refund for the {thing}"),
        ("I do not want shop points for the {thing}", "turn the gift code for the {thing} to cash"),
    ),
    (
        "tax number",
        "invoice",
        "Tax number",
        ("the invoice of the {thing} has no tax number", "put our tax number on the {thing} paper"),
        ("our office cannot book the {thing} like this", "the {thing} needs our firm name on it"),
    ),
    (
        "new email",
        "account",
        "New email",
        (
            "change the email of my account with the {thing}",
            "news of the {thing} reach an old email",
        ),
        (
            "I no longer read the inbox that gets {thing} mail",
            "write of the {thing} to my new name",
        ),
    ),
    (
        "ordered twice",
        "cancel",
        "Only one {thing}",
        ("I ordered two and want to cancel one {thing}", "cancel the second {thing}"),
        ("I pressed the button twice for the {thing}", "one {thing} is enough"),
    ),
)
TICKET_KINDS = tuple(
    TicketKind(name, label, rank, subject, plain, indirect)
    for rank, (name, label, subject, plain, indirect) in enumerate(_KINDS, start=1)
)
VAGUE_SUBJECTS = ("Question", "Help", "Hello", "My order", "To the shop")

CUES = {
    "high": (
        "this is urgent",
        "I need it today",
        "it cannot wait",
        "please answer today",
        "I leave tomorrow",
    ),
    "low": ("no hurry", "take your time", "there is no rush", "next month is fine"),
    "normal": ("", "", "please let me know", "thank you for your help", "what can we do"),
}
"""What a ticket says of its urgency; nothing is normal."""
URGENCY_WEIGHTS = {"high": 0.3, "low": 0.25, "normal": 0.45}

ORDERS = ("my order is {number}", "order number {number}", "it is order {number}")
NO_ORDER = ("I have no order number", "")
OTHER_NUMBERS = (
    "my phone is {number}",
    "my customer number is {number}",
    "I live at {number} Mill Road",
)
SETTLED = "last month {matter} with number {number}, but that is settled"
"""A matter that is over: neither its label nor its number counts."""

GREETINGS = ("Hello,", "Hi,", "Dear shop,", "Good day,")
SIGNATURES = ("Ann Hill", "Bob Stone", "Cid", "Dan Wood", "Eve Lake", "Fay and Gus")
QUOTED = "> you wrote:\n> {matter}.\n> order number {number}. {cue}."
"""An older mail below the ticket; nothing in it counts."""

TYPOS = {
    "the": "teh",
    "order": "oder",
    "please": "pls",
    "number": "nubmer",
    "invoice": "invoise",
    "refund": "refnud",
    "cancel": "cancle",
    "account": "acount",
    "arrived": "arived",
    "address": "adress",
    "today": "tody",
    "working": "workin",
    "money": "mony",
    "tomorrow": "tomorow",
}
