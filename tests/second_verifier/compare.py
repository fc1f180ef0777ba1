"""Runs the verifier over a folder of cases and compares each verdict with the one that the gateway's own verifier gave.

A case is a folder `log`, and `verdict.json` with what was asked and what was found.
"""

import json
import os
import sys

from verifier import Fault, Key, verify


def verdict(case, asked):
    known = []
    for name in asked["known"]:
        with open(os.path.join(case, name), "rb") as file:
            known.append(file.read())
    root = bytes.fromhex(asked["ratchet_root"]) if asked["ratchet_root"] else None
    witnesses = [Key(text) for text in asked["witnesses"]]
    try:
        verify(os.path.join(case, "log"), Key(asked["key"]), known, witnesses, asked["quorum"], root)
        return {"whole": True, "entry": None}
    except Fault as fault:
        return {"whole": False, "entry": fault.entry, "what": str(fault)}


def main(folder):
    good = bad = different = 0
    for name in sorted(os.listdir(folder)):
        case = os.path.join(folder, name)
        with open(os.path.join(case, "verdict.json"), encoding="utf-8") as file:
            asked = json.load(file)
        found = verdict(case, asked)
        agree = (found["whole"], found["entry"]) == (asked["whole"], asked["entry"])
        good, bad = good + asked["whole"], bad + (not asked["whole"])
        different += not agree
        print(f"{'agrees' if agree else 'DIFFERS'}  {name}: {found} {'' if agree else asked}")
    print(f"{good} good and {bad} bad logs, {different} verdicts differ")
    sys.exit(1 if different or not good or not bad else 0)


if __name__ == "__main__":
    main(sys.argv[1])
