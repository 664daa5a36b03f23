"""Content codings: gzip, and zstd where Python's standard library has it.

Read encoders.py first (bytes to encoded bytes), then streams.py (bodies encoded as they are pulled)
and responses.py (whether and how a response is compressed). prepared.py makes short responses whose
fields are encoded once, splice.py gzip of parts that were compressed before: of listings, and of
windows of large files.
"""
