"""The terms of the report, each explained where the page uses it for the first time."""

from typing import Final

from loadtest.experiment.measure.samples import GENERATOR_BOUND
from loadtest.experiment.report.html import Markup, tag

WORDS: Final = {
    "reactor": "one thread with an event loop serves all connections",
    "threads": "each connection has a thread of its own",
    "pool-32": "32 threads, each of which serves one connection until it is closed",
    "threads-0.5ms": "threads that are switched every 0.5 ms, and not every 5 ms as Python does",
    "cell": "one kind of load at one size, as in “512 busy keep-alive connections”",
    "round": "every server is measured once in every cell; a figure is the median over rounds",
    "p99": "99 of 100 requests take at most this long, and the slowest one takes longer",
    "bystander": "a client that sends a small request every 10 ms beside the load; it shows what "
    "the load does to everybody else",
    "out of service": "a quarter of the bystander's requests got no correct response within a "
    "second",
    "loses": "another way is better; “even”: they differ by less than a twentieth",
    "falls short": "better at some sizes and worse at others, or worse than the target",
    "holds": "better, or within the target",
    "hollow point": "less than 99 % of the connections were certainly served; their share stands "
    "beside it. The others have no latency and cost no CPU time, so the point looks better than "
    "the server is",
    "closed loop": "a client sends its next request when it has the response, so a slow server "
    "gets fewer requests",
    "served": "the share of connections that got a response; of requests, where these are sent by "
    "the clock",
    "open loop": "requests are sent when they are due, however slow the responses are, and "
    "latencies count from when a request was due",
    "coordinated omission": "a closed loop sends nothing while a server stalls, so the requests "
    "that the stall would have hit are in no statistics",
    "locust": "a load generator that simulates the users of a site",
    "generator-bound": "rates and latencies would be those of the load generator, since its core "
    f"was busy for more than {GENERATOR_BOUND * 100:.0f} %",
    "Jain's index": "how evenly connections are served: 1 where all get the same number of "
    "responses, 1/n where one of n gets them all",
    "noisy": "another process, or the host of the virtual machine, was busy during the measurement",
}


def explained(*words: str) -> Markup:
    """A list of these words with their meanings."""
    pairs = [tag("div", tag("dt", tag("dfn", one)), tag("dd", f"{WORDS[one]}.")) for one in words]
    return tag("dl", *pairs, class_="words")
