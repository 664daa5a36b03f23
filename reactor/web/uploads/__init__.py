"""Files that are written: whole ones, forms, and uploads that can be resumed.

Read receiver.py first (PUT, POST and DELETE), then atomic_file.py (a file appears when all of it is
on the disk), directories.py (those that it needs), publish.py (it takes its name), form_upload.py
and sweep.py. Resumable uploads: resumable.py, resumable_fields.py (their header fields), access.py,
partial_store.py and partial_upload.py (the bytes received so far), metadata.py, quota.py,
disk_room.py (a full disk), takeover.py, completion.py, and limits.py.
"""
