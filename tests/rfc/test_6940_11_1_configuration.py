"""RFC 6940 section 11.1: the Overlay Configuration Document, with the example of the RFC itself."""

from __future__ import annotations

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from lxml import etree

from p2psip.reload.config.blobs import blobs
from p2psip.reload.config.document import _grammar, parse
from p2psip.reload.config.errors import ConfigurationError
from p2psip.reload.wire.common import SignatureAlgorithm
from p2psip.sim.membership import ALGORITHMS, founding

EXAMPLE = """\
<?xml version="1.0" encoding="UTF-8"?>
<overlay xmlns="urn:ietf:params:xml:ns:p2p:config-base"
   xmlns:ext="urn:ietf:params:xml:ns:p2p:config-ext1"
   xmlns:chord="urn:ietf:params:xml:ns:p2p:config-chord">
   <configuration instance-name="overlay.example.org" sequence="22"
       expiration="2002-10-10T07:00:00Z" ext:ext-example="stuff" >
       <topology-plugin> CHORD-RELOAD </topology-plugin>
       <node-id-length>16</node-id-length>
       <root-cert>
MIIDJDCCAo2gAwIBAgIBADANBgkqhkiG9w0BAQUFADBwMQswCQYDVQQGEwJVUzET
MBEGA1UECBMKQ2FsaWZvcm5pYTERMA8GA1UEBxMIU2FuIEpvc2UxDjAMBgNVBAoT
BXNpcGl0MSkwJwYDVQQLEyBTaXBpdCBUZXN0IENlcnRpZmljYXRlIEF1dGhvcml0
eTAeFw0wMzA3MTgxMjIxNTJaFw0xMzA3MTUxMjIxNTJaMHAxCzAJBgNVBAYTAlVT
MRMwEQYDVQQIEwpDYWxpZm9ybmlhMREwDwYDVQQHEwhTYW4gSm9zZTEOMAwGA1UE
ChMFc2lwaXQxKTAnBgNVBAsTIFNpcGl0IFRlc3QgQ2VydGlmaWNhdGUgQXV0aG9y
aXR5MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDDIh6DkcUDLDyK9BEUxkud
+nJ4xrCVGKfgjHm6XaSuHiEtnfELHM+9WymzkBNzZpJu30yzsxwfKoIKugdNUrD4
N3viCicwcN35LgP/KnbN34cavXHr4ZlqxH+OdKB3hQTpQa38A7YXdaoz6goW2ft5
Mi74z03GNKP/G9BoKOGd5QIDAQABo4HNMIHKMB0GA1UdDgQWBBRrRhcU6pR2JYBU
bhNU2qHjVBShtjCBmgYDVR0jBIGSMIGPgBRrRhcU6pR2JYBUbhNU2qHjVBShtqF0
pHIwcDELMAkGA1UEBhMCVVMxEzARBgNVBAgTCkNhbGlmb3JuaWExETAPBgNVBAcT
CFNhbiBKb3NlMQ4wDAYDVQQKEwVzaXBpdDEpMCcGA1UECxMgU2lwaXQgVGVzdCBD
ZXJ0aWZpY2F0ZSBBdXRob3JpdHmCAQAwDAYDVR0TBAUwAwEB/zANBgkqhkiG9w0B
AQUFAAOBgQCWbRvv1ZGTRXxbH8/EqkdSCzSoUPrs+rQqR0xdQac9wNY/nlZbkR3O
qAezG6Sfmklvf+DOg5RxQq/+Y6I03LRepc7KeVDpaplMFGnpfKsibETMipwzayNQ
QgUf4cKBiF+65Ue7hZuDJa2EMv8qW4twEhGDYclpFU9YozyS1OhvUg==
       </root-cert>
       <root-cert> YmFkIGNlcnQK </root-cert>
       <enrollment-server>https://example.org</enrollment-server>
       <enrollment-server>https://example.net</enrollment-server>
       <self-signed-permitted
                 digest="sha1">false</self-signed-permitted>
       <bootstrap-node address="192.0.0.1" port="6084" />
       <bootstrap-node address="192.0.2.2" port="6084" />
       <bootstrap-node address="2001:DB8::1" port="6084" />
       <turn-density> 20 </turn-density>
       <clients-permitted> false </clients-permitted>
       <no-ice> false </no-ice>
       <chord:chord-update-interval>
           400</chord:chord-update-interval>
       <chord:chord-ping-interval>30</chord:chord-ping-interval>
       <chord:chord-reactive> true </chord:chord-reactive>
       <shared-secret> password </shared-secret>
       <max-message-size>4000</max-message-size>
       <initial-ttl> 30 </initial-ttl>
       <overlay-reliability-timer> 3000 </overlay-reliability-timer>
       <overlay-link-protocol>TLS</overlay-link-protocol>
       <configuration-signer>47112162e84c69ba</configuration-signer>
       <kind-signer> 47112162e84c69ba </kind-signer>
       <kind-signer> 6eba45d31a900c06 </kind-signer>
       <bad-node> 6ebc45d31a900c06 </bad-node>
       <bad-node> 6ebc45d31a900ca6 </bad-node>
       <ext:example-extension> foo </ext:example-extension>
       <mandatory-extension>
           urn:ietf:params:xml:ns:p2p:config-ext1
       </mandatory-extension>
       <required-kinds>
         <kind-block>
           <kind name="SIP-REGISTRATION">
               <data-model>SINGLE</data-model>
               <access-control>USER-MATCH</access-control>
               <max-count>1</max-count>
               <max-size>100</max-size>
           </kind>
           <kind-signature>
                VGhpcyBpcyBub3QgcmlnaHQhCg==
           </kind-signature>
         </kind-block>
         <kind-block>
           <kind id="2000">
               <data-model>ARRAY</data-model>
               <access-control>NODE-MULTIPLE</access-control>
               <max-node-multiple>3</max-node-multiple>
               <max-count>22</max-count>
               <max-size>4</max-size>
               <ext:example-kind-extension> 1
                       </ext:example-kind-extension>
           </kind>
           <kind-signature>
              VGhpcyBpcyBub3QgcmlnaHQhCg==
           </kind-signature>
         </kind-block>
       </required-kinds>
   </configuration>
   <signature> VGhpcyBpcyBub3QgcmlnaHQhCg== </signature>
   <configuration instance-name="other.example.net">
   </configuration>
   <signature> VGhpcyBpcyBub3QgcmlnaHQhCg== </signature>
 </overlay>
"""


def test_the_example_is_valid_by_the_grammar() -> None:
    """With overlay-reliability-timer, which the RFC's own grammar forgot, it is."""
    assert _grammar().validate(etree.fromstring(EXAMPLE.encode()))


def test_the_example_has_node_ids_that_no_node_can_have() -> None:
    """Its signers have 8 bytes; "This value MUST be between 16 (128 bits) and 20 (160 bits)"."""
    with pytest.raises(ConfigurationError, match="a Node-ID has 16 to 20 bytes, not 8"):
        parse(EXAMPLE.encode(), "overlay.example.org")


def test_the_example_with_node_ids_of_16_bytes() -> None:
    mended = EXAMPLE
    for short in ("47112162e84c69ba", "6eba45d31a900c06", "6ebc45d31a900c06", "6ebc45d31a900ca6"):
        mended = mended.replace(short, short * 2)
    # A private Kind comes from the private space, and 2000 is a number that the grammar lets through.
    found = parse(mended.encode(), "overlay.example.org")
    configuration = found.configuration
    assert configuration.sequence == 22
    assert configuration.expiration == 1034233200.0
    assert configuration.enrollment_servers == ("https://example.org", "https://example.net")
    assert configuration.self_signed_digest is None
    assert [node.address for node in configuration.bootstrap_nodes] == ["192.0.0.1", "192.0.2.2", "2001:DB8::1"]
    assert (configuration.turn_density, configuration.initial_ttl, configuration.max_message_size) == (20, 30, 4000)
    assert (configuration.clients_permitted, configuration.no_ice, configuration.chord_reactive) == (False, False, True)
    assert (configuration.chord_update_interval_s, configuration.chord_ping_interval_s) == (400, 30)
    assert configuration.shared_secret == "password"
    assert configuration.mandatory_extensions == ("urn:ietf:params:xml:ns:p2p:config-ext1",)
    assert len(configuration.kind_signers) == len(configuration.bad_nodes) == 2
    assert configuration.root_certs[1] == b"bad cert\n"
    assert [(kind.kind_id, kind.max_count) for kind in configuration.required_kinds] == [(1, 1), (2000, 22)]
    assert [extension.name for extension in configuration.extensions] == ["example-extension"]
    assert found.signatures == (b"This is not right!\n",)
    assert [kind.signature for kind in found.kinds] == [b"This is not right!\n"] * 2
    assert parse(mended.encode(), "other.example.net").configuration.sequence == 0


@pytest.mark.must("11.1/24")
@pytest.mark.parametrize("other", [b"-_", b"-/", b"+_", b"+,"])
def test_other_alphabets_of_base64_are_refused(other: bytes) -> None:
    """ "using the base64 alphabet from [RFC4648]": its sections have another one for URLs, and RFC 3501 has one more;
    in ours the last two characters are + and /.
    """
    raw = founding(SignatureAlgorithm.ECDSA).document
    signature = base64.b64encode(b"\xfb\xff\xbf" * 20)
    assert {*b"+/"} <= {*signature}
    beginning, end = raw.rindex(b"<signature>") + 11, raw.rindex(b"</signature>")
    for text in (signature, signature + b"\n"):
        document = raw[:beginning] + text + raw[end:]
        assert parse(document).signatures[-1] == b"\xfb\xff\xbf" * 20
        mended = text.translate(bytes.maketrans(b"+/", other))
        with pytest.raises(ConfigurationError):
            parse(raw[:beginning] + mended + raw[end:])


@pytest.mark.must("11.1/22", "11.1/23", "11.1/24")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_signature_covers_the_element_and_the_signer_identity(algorithm: SignatureAlgorithm) -> None:
    """Verified here with nothing of ours: by the bytes of the document, the RFC's structures and a bare library.

    "starting from, and including, the first < at the start of <configuration> up to and including the > in
    </configuration> [...] signed using the standard SecurityBlock defined in Section 6.3.4. The SecurityBlock MUST be
    base-64 encoded".
    """
    raw = founding(algorithm).document
    blob = raw[raw.index(b"<configuration") : raw.index(b"</configuration>") + len(b"</configuration>")]
    assert blobs(raw)[0].signed == blob
    block = base64.b64decode(raw[raw.rindex(b"<signature>") + 11 : raw.rindex(b"</signature>")])
    # SecurityBlock: certificates<0..2^16-1>, each with a type (X.509 is 0) and certificate<0..2^16-1>.
    certificates, rest = block[2 : 2 + int.from_bytes(block[:2], "big")], block[2 + int.from_bytes(block[:2], "big") :]
    assert certificates[0] == 0
    certificate = certificates[3 : 3 + int.from_bytes(certificates[1:3], "big")]
    assert certificate == founding(algorithm).signer.chain[0]
    # Signature: hash (sha256 is 4), signature (rsa is 1, ecdsa is 3), SignerIdentity, signature_value<0..2^16-1>.
    assert rest[:2] == bytes([4, {SignatureAlgorithm.RSA: 1, SignatureAlgorithm.ECDSA: 3}[algorithm]])
    identity = bytes([1]) + (34).to_bytes(2, "big") + bytes([4, 32]) + hashlib.sha256(certificate).digest()
    assert rest[2 : 2 + len(identity)] == identity
    value = rest[2 + len(identity) + 2 :]
    assert len(value) == int.from_bytes(rest[2 + len(identity) : 4 + len(identity)], "big")
    key = founding(algorithm).signer.key.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        key.verify(value, blob + identity, padding.PKCS1v15(), hashes.SHA256())
    else:
        key.verify(value, blob + identity, ec.ECDSA(hashes.SHA256()))
