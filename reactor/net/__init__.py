"""Sockets: the one package that receives, sends and accepts.

Read stream.py first (a connected socket, its send queue and its end), then transport.py (its turns
in the loop), pacing.py (how much a peer is sent at a time), send_queue.py (bytes and file regions
that wait to be sent), binding.py (from names to listening sockets), listener.py (accepting),
arrivals.py (which accepted client is connected next), spare_descriptors.py (a reserve for clients
that are refused), min_rate.py (the deadline of a slow peer) and client_network.py (the addresses
that count as one client).

TLS is a transport as well: tls.py (records between the socket and the protocol), tls_session.py
(OpenSSL, as a function of bytes), tls_info.py (what a request may know of it), handshakes.py (how
they ended), certificates.py (loading, SNI), x509.py (what a certificate says) and self_signed.py.

Nothing here knows the protocol: bytes are handed on, and never examined. TLS alone looks at the
first one: it is of a hello, or of a request that came without TLS.
"""
