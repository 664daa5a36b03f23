"""One HTTP connection, from its first byte to its last.

Read connection.py first: the only state machine of the protocol. response_body.py pulls a response
body piece by piece, context.py is what all connections of a server share, wall_clock.py formats the
time of day once a second. The connection knows no socket (see net/) and no URL (see web/).
"""
