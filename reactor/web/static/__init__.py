"""Files to be read: cached, compressed, in ranges, and directories as pages.

Read file_server.py first (a GET of a file), then open_file_cache.py, compressed_cache.py,
directory_reader.py and listing.py (the page of a directory), and mount.py (a directory as an
endpoint of an application).
"""
