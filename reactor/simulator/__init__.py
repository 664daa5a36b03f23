"""The simulated world: the real server on a simulated network, clock, disk and thread pool.

    network     time, chance, an agenda and a trace
    sockets     TCP: windows, FIN, reset, a listener
    tls         a double of TLS on these sockets
    selector    readiness; spins and lost wake-ups
    disk        files that are cold, shrink or fail, and threads that take time
    response_parser  from bytes to responses, as a client has to read them
    client      the other side of a connection
    invariants  what is true after every turn, and at rest
    fairness    what one call of the loop may cost the others
    world       all of it put together around a Server
    swimlane    the trace, to be read

It is for tests: any fragmentation gives the same responses, 75 seconds pass in no time, every fault
comes from one seed, and the same seed gives the same trace. The scenarios that are played are in
tests/.
"""

from reactor.simulator.client import SimClient, SimResponse, parse_responses
from reactor.simulator.disk import SimFile, SimPool
from reactor.simulator.network import Script, SimNetwork, Violation
from reactor.simulator.response_parser import (
    BadResponse,
    IncompleteResponse,
    ResponseHead,
    ResponseParser,
)
from reactor.simulator.selector import SimSelector
from reactor.simulator.sockets import SimListener, SimSocket
from reactor.simulator.swimlane import swimlanes
from reactor.simulator.world import Faults, SimReactor, SimTransport, SimWorld, simulation

__all__ = [
    "BadResponse",
    "Faults",
    "IncompleteResponse",
    "ResponseHead",
    "ResponseParser",
    "Script",
    "SimClient",
    "SimFile",
    "SimListener",
    "SimNetwork",
    "SimPool",
    "SimReactor",
    "SimResponse",
    "SimSelector",
    "SimSocket",
    "SimTransport",
    "SimWorld",
    "Violation",
    "parse_responses",
    "simulation",
    "swimlanes",
]
