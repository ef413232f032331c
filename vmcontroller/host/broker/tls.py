"""The broker's certificate for TLS. Needs the extra `tls`."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.interfaces import IOpenSSLContextFactory

from vmcontroller.common.errors import ConfigError
from vmcontroller.common.stomp.endpoints import certificates_of


def server_context(certificate: str, key: str) -> IOpenSSLContextFactory:
    """Return the context factory of a server with this certificate chain and key (PEM files).

    TLS 1.2 is the oldest it speaks, as Twisted has it. Raises ConfigError for files that can't be
    read or don't belong together, or without the extra.
    """
    try:
        from OpenSSL import SSL, crypto  # noqa: PLC0415 - an extra
        from twisted.internet.ssl import CertificateOptions  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(
            "broker", "tls_port", f"TLS needs the extra 'vmcontroller[tls]': {error}"
        ) from error
    chain_pem = certificates_of(_read("tls_certificate", certificate))
    if not chain_pem:
        raise ConfigError("broker", "tls_certificate", f"{certificate!r} holds no certificate")
    key_pem = _read("tls_key", key)
    try:
        own, *others = [crypto.load_certificate(crypto.FILETYPE_PEM, pem) for pem in chain_pem]
        options: IOpenSSLContextFactory = CertificateOptions(
            privateKey=crypto.load_privatekey(crypto.FILETYPE_PEM, key_pem),
            certificate=own,
            extraCertChain=others or None,
        )
        options.getContext().check_privatekey()
    except (crypto.Error, SSL.Error, ValueError) as error:
        raise ConfigError(
            "broker", "tls_key", f"{key!r} is not the key of {certificate!r}, or no PEM: {error}"
        ) from error
    return options


def _read(name: str, path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigError("broker", name, f"{path!r} cannot be read: {error.strerror}") from error
