"""Options of the command line, and what their values may be.

types.py checks one value of each kind. It knows no file system: whether a directory exists is found
out when it is opened.
"""
