"""What the server costs and how it behaves under load: programs to be run by hand.

`python -m loadtest.benchmarks.cpu` compares CPU time per request with a floor and with other
servers; `python -m loadtest.benchmarks.memory` counts bytes where there are many, slow or large
exchanges.
"""
