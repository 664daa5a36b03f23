"""Bytes of open files, sent without being held in memory and read without blocking the loop.

Read file.py first (File: a file descriptor with a count of its holders), then region.py
(FileRegion: a part of a File), then page_cache.py (asks the kernel which pages are in memory) and
descriptors.py (how many descriptors there are, and which of them are for short use).

No module here knows paths or responses: `web/storage/` opens files, `http/response_body.py` sends
them.
"""
