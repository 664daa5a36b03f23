"""The applications that are served under load: ours, and those of other servers.

target.py is the application of the experiment, bodies.py and routed.py are those of the benchmarks.
raw_loop.py sends fixed bytes, the floor of the cost of a request, and tls_loop.py does so over TLS.
peers.py, asgi_hello.py and starlette_hello.py run other servers, slow_disk.py runs ours with a slow
disk.
"""
