"""What runs on the index host, as root, with Debian's Python alone: data, servers, load, figures."""
