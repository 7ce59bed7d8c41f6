"""Measure the indexes that site.yml deploys against other index servers and against plain files on disk.

`host` is what runs on the index host: it needs nothing but Debian's Python and is copied there. The rest runs on the
controller: it prepares the host, fetches the figures, and writes docs/performance.*.
"""
