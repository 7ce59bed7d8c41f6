"""What a systemd service needs around devpi-server.

``configuration`` says what is wrong with the options of devpi-server's file, ``prepare`` and
``initialise`` make a new server's data completely or not at all, ``serve`` runs devpi-server on the
socket that systemd listens on, with the other modules as plugins.
"""

import warnings

# pyramid's, at every start; the lock holds setuptools where it still works
warnings.filterwarnings("ignore", "pkg_resources is deprecated", UserWarning)
