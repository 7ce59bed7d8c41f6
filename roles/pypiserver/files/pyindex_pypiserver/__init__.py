"""A pypiserver that stores an upload completely or not at all.

``app`` is the WSGI application, ``uploads`` reads what clients send, ``storage`` puts files in
place, ``distributions`` says whether a file is what its name claims (with ``wheels``, ``zips`` and
``tars``), ``publishing`` writes the pages, ``reconcile`` and ``watch`` publish what arrives another
way, ``seed`` fills the index with what ``resolver`` finds.
"""

import warnings

with warnings.catch_warnings():
    # bottle, which pypiserver carries along, imports the deprecated cgi
    warnings.simplefilter("ignore")
    import pypiserver as _pypiserver

pypiserver_version: str = _pypiserver.__version__
