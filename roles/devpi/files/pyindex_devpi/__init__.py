"""What a systemd service needs around devpi-server.

``configuration`` says what is wrong with the options of devpi-server's file, ``prepare`` makes a new
server's data completely or not at all, ``serve`` runs devpi-server on the socket that systemd
listens on.
"""
