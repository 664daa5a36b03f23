"""The cost of TLS: beside our plain server, a bare `ssl` loop, nginx and uvicorn.

All servers have one process on one core, the same certificate (ECDSA P-256), and write no log. They
agree on TLS 1.3 and on the same cipher, which is printed; a server that agrees on another is an
error. CPU time is measured as in `loadtest.benchmarks.cpu`, and judged as a ratio within a round.
Arms are interleaved, and a figure is the median of the rounds.

    keep-alive           a GET with a tiny head on 64 keep-alive connections
    hot-100k, hot-10m    a file that is in memory, again and again
    full, resumed        handshakes without a request (loadtest/clients/handshakes.py)
    idle                 memory of idle keep-alive connections that have sent one request
    silent               a bystander beside 500 clients that connect and say nothing
    arrivals             a bystander beside 200 new clients a second, with a handshake each

The memory of a TLS connection is mostly OpenSSL's own. So the bare loop (apps/tls_loop.py) is the
floor, and the figure is what our server takes beside it. The bystander has keep-alive connections
over TLS and asks every 4 ms, as in `loadtest.benchmarks.fairness`.

arms.py has the servers, cases.py what is measured on them.

    python -m loadtest.benchmarks.tls --rounds 5 --seconds 3 --only full --json FILE
"""
