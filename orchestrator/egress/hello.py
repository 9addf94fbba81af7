"""The first words of a TLS connection, from which the server's name is read."""

from __future__ import annotations

import ssl

LONGEST = 64 * 1024
"""Bytes in which a ClientHello must be complete; real ones take a few hundred to a few thousand."""


class NoHello(ValueError):
    """What was sent is not the beginning of a TLS connection that names its server."""


class HelloReader:
    """Reads the server's name (SNI, RFC 6066) out of the bytes that a TLS client sends first.

    The reading is OpenSSL's own; there is no key here, so no connection can come of it.
    """

    def __init__(self) -> None:
        self._names: list[str | None] = []
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.sni_callback = self._note
        self._sent = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._sent, ssl.MemoryBIO(), server_side=True)
        self._size = 0

    def _note(self, _: ssl.SSLObject, name: str | None, __: ssl.SSLContext) -> int:
        self._names.append(name)
        return ssl.ALERT_DESCRIPTION_INTERNAL_ERROR  # no further: the name was all

    def feed(self, data: bytes) -> str | None:
        """Take further bytes.

        Returns:
            The server's name once it is known; None while more bytes are needed.

        Raises:
            NoHello: it is not TLS, it names no server, or it is too long.
        """
        self._size += len(data)
        if self._size > LONGEST:
            raise NoHello("its beginning is too long for TLS")
        self._sent.write(data)
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLError:
            pass
        name = self._names[0] if self._names else None
        if not name:
            raise NoHello("it is not TLS, or does not name its server")
        return name
