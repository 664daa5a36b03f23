"""The site of the command line: directories, uploads, an application, and their endpoints.

command_line.py reads the options, site.py builds the handler from them.
"""
