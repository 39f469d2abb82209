#!/usr/bin/env python3
"""Prints how many of the lines inside functions are comments, by folder and file.

usage: comments.py [--files] [FOLDER...]     (default: the parts that are hardest to read)

Tests and documentation comments are left out. The aim is at least 3 %, where a reader would stop and ask why. This is a
report for writers and not a test.
"""
import re
import sys
from pathlib import Path

from imports import ROOT, end_of_item

FOLDERS = ["lmfs/src/fs", "lmfs/src/packer", "indexer/src/store", "codec/src/mix", "codec/src/block"]


def blanked(text):
    """The code with comments and strings blanked, every character where it was."""
    token = re.compile(r"""//[^\n]*|/\*.*?\*/|b?r(?P<h>#*)".*?"(?P=h)|b?"(?:\\.|[^"\\])*"|b?'(?:\\.|[^'\\\n])+'""", re.S)
    return token.sub(lambda m: re.sub(r"[^\n]", " ", m[0]), text)


def tests(code):
    """The spans of items for tests."""
    for found in re.finditer(r"#\[cfg\((test|all\(test[^\]]*)\)\]", code):
        at = found.end()
        while attribute := re.match(r"\s*#\[[^\]]*\]", code[at:]):
            at += attribute.end()
        yield found.start(), end_of_item(code, at)


def count(file):
    """Lines inside functions that are not empty, and those of them that are comments."""
    text = file.read_text()
    code = blanked(text)
    skip = list(tests(code))
    inside = set()
    for found in re.finditer(r"\bfn\s+\w+", code):
        at = found.start()
        if any(a <= at < b for a, b in skip):
            continue
        end = end_of_item(code, at)
        body = code.find("{", at, end)
        if body >= 0:
            inside |= set(range(code.count("\n", 0, body) + 1, code.count("\n", 0, end)))
    lines = text.split("\n")
    lines = [lines[i].strip() for i in sorted(inside)]
    lines = [line for line in lines if line]
    comments = [line for line in lines if line.startswith("//") and not line.startswith("///")]
    return len(lines), len(comments)


def is_test(file):
    name = str(file)
    return "/tests/" in name or name.endswith(("/tests.rs", "_tests.rs", "/hostile.rs", "/example.rs")) or "/hostile/" in name


def main():
    folders = [a for a in sys.argv[1:] if not a.startswith("-")] or FOLDERS
    for folder in folders:
        files = sorted((ROOT / folder).rglob("*.rs"))
        beside = (ROOT / folder).with_suffix(".rs")
        files = [beside] * beside.exists() + [file for file in files if not is_test(file)]
        counts = [(file, *count(file)) for file in files]
        lines, comments = (sum(c[i] for c in counts) for i in (1, 2))
        print(f"{100 * comments / max(lines, 1):5.1f} %  {comments:5} of {lines:6}  {folder}")
        if "--files" in sys.argv:
            for file, n, c in sorted(counts, key=lambda c: c[2] / max(c[1], 1)):
                print(f"    {100 * c / max(n, 1):5.1f} %  {c:4} of {n:5}  {file.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
