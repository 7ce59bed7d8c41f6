"""Other ways to write an address, and claims of who is asking: no guard may fall for them."""

from __future__ import annotations

from .indexes import Index

# {p}: what leads to it, {f}: a file in it
TRICKS = [
    *("/{p}", "//{p}", "///{p}", "/./{p}", "/%2e/{p}", "/x/../{p}", "/x/%2e%2e/{p}", "/x/..%2f{p}", "/%2f{p}"),
    *("/simple/../{p}", "/packages/../{p}", "/packages/%2e%2e/{p}", "/packages/..;/{p}", "/favicon.ico/../{p}"),
    *("/{p}?x=1", "/{p};x", "/{p}#x", "/{p}%20", "/{p}%00", "/{p}%0a", "/{p}.", "/{p}/.", "/{p}/", "/{p}//", "/{p}\\"),
    *(
        "/\\{p}",
        "/{e}",
        "/{E}",
        "/{U}",
        "^/{b}/{p}",
        "^/..{b}/{p}",
        "^{u}{b}/{p}",
        "^{u}:{port}{b}/{p}",
        "^http://x{b}/{p}",
    ),
]
CLAIMS = [
    *(
        ("X-Original-URL", "/{p}"),
        ("X-Rewrite-URL", "/{p}"),
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Real-IP", "127.0.0.1"),
    ),
    *(("X-Remote-User", "{user}"), ("Remote-User", "{user}"), ("X-Forwarded-User", "{user}"), ("X-Script-Name", "/x")),
    *(("X-HTTP-Method-Override", "HEAD"), ("X-Forwarded-Prefix", "/x"), ("Forwarded", "for=127.0.0.1;proto=https")),
]


def spellings(index: Index, path: str) -> list[str]:
    """Ways to write the address `path` (without its first slash)."""
    escaped = "".join(f"%{ord(letter):02x}" if letter.isalpha() else letter for letter in path)
    words = {"p": path, "e": f"%{ord(path[0]):02x}{path[1:]}", "E": escaped, "U": path.swapcase()}
    words |= {"u": f"https://{index.server_name}", "port": str(index.https_port), "b": index.url_path}
    return [trick.format(**words) for trick in TRICKS]
