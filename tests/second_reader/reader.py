#!/usr/bin/env python3
"""Runs the published vectors through a reader that was written from ENVELOPE.md alone. Exits 1 if an outcome differs."""

import hashlib
import json
import pathlib
import sys

from keyring import Identity, Keyring, short
from record import Header, OrderCheck, Refused, Session, associated_data

VECTORS = pathlib.Path(__file__).parents[2] / "crypto-lib" / "vectors"


def unhex(text):
    return None if text is None else bytes.fromhex(text)


class Tally:
    def __init__(self):
        self.right, self.wrong = 0, []

    def same(self, name, expected, found):
        if expected == found:
            self.right += 1
        else:
            self.wrong.append(f"{name}: expected {expected}, found {found}")


def outcome_of(call):
    """The outcome class of a call, and what it gave."""
    try:
        return "ok", call()
    except Refused as refused:
        return str(refused), None


def run_records(vectors, tally):
    for case in vectors["aad"]:
        made = associated_data(unhex(case["header"]), case["flags"], case["partition"], unhex(case["record_key"]))
        tally.same("associated data", case["aad"], made.hex())
    sessions = {}
    for key in vectors["keys"]:
        session = Session(unhex(key["secret"]), key["suite"], unhex(key["stream"]), unhex(key["key_id"]))
        tally.same(f"commitment of {key['name']}", key["commitment"], session.commitment.hex())
        derived = short(unhex(key["announcement_header"]), session.commitment)
        tally.same(f"key id of {key['name']}", key["derived_key_id"], derived.hex())
        sessions[key["name"]] = session
    for case in vectors["cases"]:
        session, sealed = sessions[case["key"]], unhex(case["sealed"])
        place = case["partition"], unhex(case["record_key"])
        if case["ask"] == "tombstone":
            outcome, _ = outcome_of(lambda: session.verify_tombstone(sealed, *place))
            tally.same(case["name"], case["outcome"], outcome)
            continue
        outcome, opened = outcome_of(lambda: session.open(sealed, *place, case["limit"]))
        tally.same(case["name"], case["outcome"], outcome)
        if opened and case["plain"]:
            value, timestamp, headers = opened
            headers = [[key.hex(), None if inner is None else inner.hex()] for key, inner in headers]
            plain = {"value": value.hex(), "timestamp": timestamp, "headers": headers}
            tally.same(f"content of {case['name']}", case["plain"], plain)


def run_order(vectors, tally):
    check = OrderCheck()
    for step in vectors["order"]:
        outcome, holes = outcome_of(lambda: check.observe(Header(unhex(step["header"])), step["offset"]))
        tally.same(f"offset {step['offset']}", (step["outcome"], step["holes"]), (outcome, holes))


def run_keyring(vectors, tally):
    suite = vectors["kem_suite"]
    for identity in vectors["identities"]:
        made = Identity(unhex(identity["seed"]), suite)
        for field, found in (("signing_key", made.signing_key), ("kem_key", made.kem_key), ("id", made.id)):
            tally.same(f"identity: {field}", identity[field], found.hex())
    keyring = Keyring(unhex(vectors["root"]))
    for step in vectors["steps"]:
        run_step(keyring, suite, step, tally)


def run_step(keyring, suite, step, tally):
    if step["do"] == "caught_up":
        keyring.live = True
    elif step["do"] == "digest":
        count, root = keyring.digest()
        tally.same("digest", (step["count"], step["root"]), (count, root.hex()))
    elif step["do"] == "export":
        tally.same("export", step["sha256"], hashlib.sha256(keyring.export()).hexdigest())
    elif step["do"] == "apply":
        outcome, effect = outcome_of(lambda: keyring.apply(step["record_key"], unhex(step["value"]), step["now"]))
        tally.same(step["name"], step["outcome"], effect or outcome)
    elif step["do"] == "escrow":
        call = lambda: keyring.open_with_escrow(unhex(step["escrow"]), step["shares"], unhex(step["key_id"]))
        check_open(step, tally, call)
    else:
        identity = Identity(unhex(step["identity_seed"]), suite)
        check_open(step, tally, lambda: keyring.open(identity, unhex(step["key_id"]), step["now"]))


def check_open(step, tally, call):
    outcome, session = outcome_of(call)
    tally.same(step["name"], step["outcome"], outcome)
    if session:
        place = step["partition"], unhex(step["record_key"])
        outcome, opened = outcome_of(lambda: session.open(unhex(step["record"]), *place, 1 << 20))
        tally.same(f"record of {step['name']}", ("ok", step["plain"]), (outcome, opened and opened[0].hex()))


def main():
    failed = False
    for path in sorted(VECTORS.glob("*.json")):
        vectors, tally = json.loads(path.read_text()), Tally()
        run = run_records if "cases" in vectors else run_order if "order" in vectors else run_keyring
        run(vectors, tally)
        print(f"{path.name}: {tally.right} as published, {len(tally.wrong)} not")
        for line in tally.wrong:
            print("  " + line)
        failed = failed or bool(tally.wrong) or tally.right == 0
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
