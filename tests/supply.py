#!/usr/bin/env python3
"""Holds the dependency tree against deny.toml and SECURITY.md: licences, sources, bans, doubles, unsafe code.

    tests/supply.py

What cargo-deny would say of bans, licences and sources, from cargo's own metadata: for machines that have no cargo-deny. Beyond it:
every crate that comes twice has its reason in `bans.skip`, and every crate of the program with much `unsafe` has one in SECURITY.md.
Prints a line for each check.
"""

import collections
import json
import pathlib
import re
import subprocess
import sys
import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[1]
DENY = tomllib.loads((ROOT / "deny.toml").read_text())
# above it, `unsafe` is a way of working and not an exception
MUCH_UNSAFE = 100

failed = False


def check(what, wrong):
    global failed
    failed |= bool(wrong)
    print(f"{'FAILED' if wrong else 'ok    '}  {what}")
    for line in sorted(wrong):
        print(f"        {line}")


def allowed(expression):
    """Whether an SPDX expression can be met by the licences that deny.toml allows (AND binds closer than OR)."""
    tokens = re.findall(r"\(|\)|[^\s()]+", expression.replace("/", " OR ").replace(" WITH ", "+WITH+"))
    granted = {name.replace(" WITH ", "+WITH+") for name in DENY["licenses"]["allow"]}

    def one():
        token = tokens.pop(0)
        if token != "(":
            return token in granted
        inner = any_of()
        assert tokens.pop(0) == ")", expression
        return inner

    def all_of():
        good = one()
        while tokens and tokens[0] == "AND":
            tokens.pop(0)
            good &= one()
        return good

    def any_of():
        good = all_of()
        while tokens and tokens[0] == "OR":
            tokens.pop(0)
            good |= all_of()
        return good

    good = any_of()
    assert not tokens, expression
    return good


def cargo(*words):
    done = subprocess.run(["cargo", *words, "--locked"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout


def in_the_tree(edges):
    """Names and versions that cargo builds; its metadata would name what some unused feature could bring, too."""
    lines = cargo("tree", "--edges", edges, "--prefix", "none", "--format", "{p}").splitlines()
    return {tuple(line.split()[:2]) for line in lines if line}


def unsafe_in(package):
    folder = pathlib.Path(package["manifest_path"]).parent / "src"
    text = "\n".join(file.read_text(errors="replace") for file in folder.rglob("*.rs"))
    code = re.sub(r"//[^\n]*", "", text)
    return len(re.findall(r"\bunsafe\s*(?:\{|fn|impl|extern)", code))


def main():
    known = {(package["name"], f"v{package['version']}"): package for package in json.loads(cargo("metadata", "--format-version", "1"))["packages"]}
    packages = [known[one] for one in in_the_tree("normal,build,dev") if known[one]["source"]]
    named = lambda package: f"{package['name']} {package['version']}"  # noqa: E731

    unlicensed = {f"{named(p)}: {p['license'] or 'no licence is named'}" for p in packages if not (p["license"] and allowed(p["license"]))}
    check(f"licences: every one of {len(packages)} crates has one that deny.toml allows", unlicensed)
    registries = {f"registry+{index}" for index in DENY["sources"]["allow-registry"]}
    check("sources: crates come from the allowed registries alone", {named(p) for p in packages if p["source"] not in registries})
    banned = {one["crate"]: one["reason"] for one in DENY["bans"]["deny"] if not one.get("deny-multiple-versions")}
    check("bans: no banned crate is used", {f"{named(p)}: {banned[p['name']]}" for p in packages if p["name"] in banned})

    versions = collections.defaultdict(set)
    for package in packages:
        versions[package["name"]].add(package["version"])
    once = {one["crate"] for one in DENY["bans"]["deny"] if one.get("deny-multiple-versions")}
    check("bans: TLS comes once", {name for name in once if len(versions[name]) != 1})
    explained = [one["crate"].split("@") for one in DENY["bans"]["skip"]]
    doubles = set()
    for name, found in versions.items():
        left = {v for v in found if not any(n == name and (v == w or v.startswith(f"{w}.")) for n, w in explained)}
        if len(left) > 1:
            doubles.add(f"{name} {', '.join(sorted(left))}: say in bans.skip who needs all but one of them")
    check("doubles: each has its reason in bans.skip", doubles)
    stale = {f"{name}@{version}" for name, version in explained
             if not any(v == version or v.startswith(f"{version}.") for v in versions[name]) or len(versions[name]) == 1}
    check("doubles: no reason is left over", stale)

    program = [known[one] for one in in_the_tree("normal,no-proc-macro") if known[one]["source"]]
    table = (ROOT / "SECURITY.md").read_text()
    reasons = set(re.findall(r"^\| `([a-z0-9_-]+)` \|", table, re.MULTILINE))
    # of a crate that comes in several versions, the one with the most
    counted = collections.Counter()
    for package in program:
        counted[package["name"]] = max(counted[package["name"]], unsafe_in(package))
    much = {name for name, count in counted.items() if count > MUCH_UNSAFE}
    check(f"unsafe: every crate of the program ({len(program)}) with more than {MUCH_UNSAFE} places has its reason in SECURITY.md",
          {f"{name}: {counted[name]}" for name in much - reasons})
    check("unsafe: SECURITY.md gives no reason for one that has few", reasons - much)
    check("unsafe: none of our own", {str(path.relative_to(ROOT)) for path in (ROOT / "src").rglob("*.rs") if re.search(r"\bunsafe\s*(\{|fn|impl)", path.read_text())})
    sys.exit(failed)


main()
