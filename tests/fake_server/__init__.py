"""A fake LLM endpoint on loopback: chat completions, embeddings, the Batch API.

behaviour  what is done with one request: answer, refuse, wait, break off
server     the endpoint: keeps every request, does what `answer` says; a thread of this process
proxy      an HTTP proxy before it, which keeps what went through
batches    the same with files and batches
process    in a process of its own, which counts requests and keeps none: for benches
weather    whole servers for the benches of asking: calm, stormy, slow with limits
lies       what a broken or hostile endpoint sends

Tests and benches share it. Nothing in it imports lion: the product has a server of its own
(`lion.simulator`), and the two must not share a misreading of the protocol.
"""

from fake_server.batches import BatchServer
from fake_server.behaviour import Behaviour, Call, embeds, refuses, says
from fake_server.server import ChatServer

__all__ = ["BatchServer", "Behaviour", "Call", "ChatServer", "embeds", "refuses", "says"]
