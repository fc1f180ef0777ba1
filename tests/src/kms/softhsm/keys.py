"""What an operator does at the token, in a process of its own.

usage: keys.py MODULE TOKEN PIN create LABEL ID USE | disable LABEL | destroy LABEL | extractable LABEL ID | pin NEW
USE is gcm, wrap or both. SOFTHSM2_CONF names the store of tokens.
"""

import sys

import pkcs11
from pkcs11 import Attribute, KeyType, MechanismFlag, ObjectClass

CAPABILITIES = {
    "gcm": MechanismFlag.ENCRYPT | MechanismFlag.DECRYPT,
    "wrap": MechanismFlag.WRAP | MechanismFlag.UNWRAP,
    "both": MechanismFlag.ENCRYPT | MechanismFlag.DECRYPT | MechanismFlag.WRAP | MechanismFlag.UNWRAP,
}


def keys(session, label):
    return list(session.get_objects({Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.LABEL: label}))


def make(session, label, identifier, use, extractable):
    session.generate_key(
        KeyType.AES,
        256,
        id=bytes.fromhex(identifier),
        label=label,
        store=True,
        capabilities=CAPABILITIES[use],
        template={Attribute.SENSITIVE: not extractable, Attribute.EXTRACTABLE: extractable},
    )


def main():
    module, label, pin, action, *words = sys.argv[1:]
    token = pkcs11.lib(module).get_token(token_label=label)
    with token.open(rw=True, user_pin=pin) as session:
        if action == "create":
            make(session, *words, extractable=False)
        elif action == "extractable":
            make(session, *words, use="gcm", extractable=True)
        elif action == "disable":
            for key in keys(session, *words):
                key[Attribute.ENCRYPT] = False
                key[Attribute.DECRYPT] = False
        elif action == "destroy":
            for key in keys(session, *words):
                key.destroy()
        elif action == "pin":
            session.set_pin(pin, words[0])
        else:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
