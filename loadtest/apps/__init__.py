"""What is served under load: the applications of the benchmarks and of the experiment, and peers.

target.py is the application of the experiment, bodies.py and routed.py are those of the benchmarks;
raw_loop.py answers with fixed bytes and is the least that a request can cost. peers.py,
asgi_hello.py and starlette_hello.py run other servers, slow_disk.py ours with a slow disk.
"""
