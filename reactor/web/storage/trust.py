"""The owners of the files that a mount serves: the operator, or the clients that upload.

A browser runs the script of a page in the name of the server that has sent it. So a file that a
client may have uploaded is served with less: see static/representations.py and
static/open_file_cache.py. Directories may overlap and links lead from one into another, so that the
place where a walk has ended decides, and not the path of the request.
"""

import os
from collections.abc import Sequence
from typing import NamedTuple

from reactor.web.storage.safe_path import Place, Root


class Trust(NamedTuple):
    """The files below a directory that are the operator's: by default, all."""

    own: bool = True  # False: none
    uploads: Sequence[Root] = ()  # directories, inside or outside, with uploads of clients

    def find_file(
        self, root: Root, segments: Sequence[str], places: set[Place]
    ) -> tuple[int, os.stat_result, bool]:
        """Open a file as Root.find_file does; the third value is whether it is the operator's."""
        if not self.own or not self.uploads:
            return *root.find_file(segments, places), self.own
        descriptor, status, uploaded = root.locate_file(segments, places, self.uploads)
        return descriptor, status, not uploaded
