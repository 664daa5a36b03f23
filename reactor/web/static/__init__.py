"""Files that are read: served from an open file cache, compressed, in ranges, and as listings.

Read file_server.py first (a GET), then open_file_cache.py, representations.py, partial_content.py
and compressed_cache.py; directory_reader.py and listing.py make the page of a directory; mount.py
puts a directory into an application; limits.py declares the limits.
"""
