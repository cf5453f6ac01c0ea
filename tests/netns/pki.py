# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates as they must not be, and authorities of other names: what `culvertctl ca` rightly does not make."""

import datetime
import os

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
NAME = "URI:spiffe://cluster.local/ns/culvert/node/"


def put(path, data):
    """A whole file at once, by rename; folder made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    fresh.write_bytes(data if isinstance(data, bytes) else data.encode())
    fresh.rename(path)


def _pem(key):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _builder(subject, issuer, public_key, valid_days):
    now = datetime.datetime.utcnow()
    common_name = lambda text: x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])  # noqa: E731
    return (x509.CertificateBuilder().subject_name(common_name(subject)).issuer_name(issuer or common_name(subject)).public_key(public_key)
            .serial_number(x509.random_serial_number()).not_valid_before(now + datetime.timedelta(days=valid_days[0]))
            .not_valid_after(now + datetime.timedelta(days=valid_days[1])))


def authority(folder, name):
    """Another authority than the mesh's: ca.crt and ca.key in folder."""
    key = ec.generate_private_key(ec.SECP256R1())
    cert = (_builder(name, None, key.public_key(), (-1, 365)).add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.KeyUsage(*[usage in (5, 6) for usage in range(9)]), critical=True).sign(key, hashes.SHA256()))
    put(folder / "ca.key", _pem(key))
    put(folder / "ca.crt", cert.public_bytes(serialization.Encoding.PEM))
    return folder


def issue(ca, folder, *names, usages=(SERVER, CLIENT), valid_days=(-1, 30)):
    """tls.crt, tls.key and ca.crt in folder. names: as URI:... or DNS:..."""
    ca_key = serialization.load_pem_private_key((ca / "ca.key").read_bytes(), None)
    ca_cert = x509.load_pem_x509_certificate((ca / "ca.crt").read_bytes())
    key = ec.generate_private_key(ec.SECP256R1())
    kinds = {"URI": x509.UniformResourceIdentifier, "DNS": x509.DNSName}
    builder = (_builder("test", ca_cert.subject, key.public_key(), valid_days)
               .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
               .add_extension(x509.KeyUsage(*[usage == 0 for usage in range(9)]), critical=True))
    if names:
        names = [kinds[name.partition(":")[0]](name.partition(":")[2]) for name in names]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    if usages:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    put(folder / "ca.crt", (ca / "ca.crt").read_bytes())
    put(folder / "tls.key", _pem(key))
    put(folder / "tls.crt", builder.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    os.chmod(folder / "tls.key", 0o600)
    return folder


def revoke(ca, path, *serials):
    """A revocation list of the authority, over these serial numbers (hex, as culvertctl shows them) and no others."""
    now = datetime.datetime.utcnow()
    key = serialization.load_pem_private_key((ca / "ca.key").read_bytes(), None)
    builder = (x509.CertificateRevocationListBuilder().issuer_name(x509.load_pem_x509_certificate((ca / "ca.crt").read_bytes()).subject)
               .last_update(now - datetime.timedelta(days=1)).next_update(now + datetime.timedelta(days=30))
               .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
               .add_extension(x509.CRLNumber(len(serials) + 1), critical=False))
    for serial in serials:
        builder = builder.add_revoked_certificate(x509.RevokedCertificateBuilder().serial_number(int(serial, 16)).revocation_date(now).build())
    put(path, builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
