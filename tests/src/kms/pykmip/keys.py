"""What an operator does at the server, with PyKMIP's own client.

usage: keys.py PORT CERTIFICATE KEY CA create NAME POLICY | deactivate NAME | deactivate-id ID | destroy NAME
Prints the id of the key.
"""

import sys

from kmip.core import enums
from kmip.core.factories.attributes import AttributeFactory
from kmip.pie.client import ProxyKmipClient


def made(client, name, policy):
    uid = client.create(
        enums.CryptographicAlgorithm.AES,
        256,
        operation_policy_name=policy,
        name=name,
        cryptographic_usage_mask=[enums.CryptographicUsageMask.ENCRYPT, enums.CryptographicUsageMask.DECRYPT],
    )
    client.activate(uid)
    return uid


def named(client, name):
    attribute = AttributeFactory().create_attribute(enums.AttributeType.NAME, name)
    [uid] = client.locate(attributes=[attribute])
    return uid


def main():
    port, certificate, key, ca, action, name, *policy = sys.argv[1:]
    client = ProxyKmipClient(
        hostname="127.0.0.1",
        port=int(port),
        cert=certificate,
        key=key,
        ca=ca,
        ssl_version="PROTOCOL_TLSv1_2",
        kmip_version=enums.KMIPVersion.KMIP_1_4,
        config_file="/dev/null",
    )
    with client:
        if action == "create":
            uid = made(client, name, *policy)
        elif action == "deactivate":
            uid = named(client, name)
            client.revoke(enums.RevocationReasonCode.CESSATION_OF_OPERATION, uid)
        elif action == "deactivate-id":
            uid = name
            client.revoke(enums.RevocationReasonCode.CESSATION_OF_OPERATION, uid)
        elif action == "destroy":
            uid = named(client, name)
            client.revoke(enums.RevocationReasonCode.CESSATION_OF_OPERATION, uid)
            client.destroy(uid)
        else:
            sys.exit(__doc__)
        print(uid)


if __name__ == "__main__":
    main()
