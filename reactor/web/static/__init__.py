"""Files that are read: served from an open file cache, compressed, in ranges, and as listings.

Read file_server.py first (a GET), then open_file_cache.py, representations.py, partial_content.py,
compressed_cache.py and shared_windows.py (large files in gzip). A listing is made by listing.py of
a snapshot (snapshot.py), which directory_reader.py reads and directory_cache.py keeps, and of a
page (listing_pages.py) in one of two forms (listing_html.py, listing_json.py, listing_entries.py).
with icons by listing_kinds.py. archive.py makes a directory a download, which archive_reader.py
reads. mount.py puts a directory into an application; limits.py declares the limits.
"""
