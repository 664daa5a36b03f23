"""Options: how they are declared, parsed, checked and documented. No option is named here.

Read options.py first (a row for each option, as a field of a settings dataclass), then types.py
(parsers of single values), command_line.py (a parser made from rows), standard_streams.py (where
its sentences go) and reference.py (a page made from rows). Each package declares its own rows:
limits.py, process/options.py, web/site/options.py, and a limits.py in web/static, web/uploads and
web/semantics.
"""
