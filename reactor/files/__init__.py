"""Bytes of open files, sent without being held in memory and read without blocking the loop.

Read file.py first (File: a descriptor with a count of its holders), then region.py (FileRegion: a
stretch of a File), then page_cache.py (asks the kernel which pages are in memory).

Nothing here knows paths or responses: `web/storage/` opens files, `http/response_body.py` sends
them.
"""
