"""One HTTP connection, from its first byte to its last.

Read states.py and connection.py first: the only state machine of the protocol. timeouts.py has what
happens when a state lasts too long, closing.py how a connection ends. request_body.py and
response_writer.py are its parts for bodies that do not come or go in one piece, body_memory.py the
memory that bodies share; response_body.py has the sources of a response's pieces and their frame,
first_piece.py pulls the first of them before the head leaves. error_responses.py makes the
responses to errors, wrong_results.py says why a function has returned no response, context.py has
the objects that all connections of a server share, wall_clock.py formats the time of day once a
second. The connection knows no socket (see net/) and no URL (see web/).
"""
