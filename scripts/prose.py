#!/usr/bin/env python3
"""Prints how long the sentences of each page are, and how many colons and semicolons they hold.

usage: prose.py [--long] [FILE...]     (default: all Markdown pages, and the help texts of the program)

Tables, code, headings and indented blocks are left out, since they are not sentences. The aim is at most 0.3 colons and
semicolons per sentence. This is a report for writers and not a test. --long also prints each sentence of more than 35
words.
"""
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Files with options, whose doc comments are the help.
HELP = "lmfs/src/cli/*.rs"
LONG = 35
# What ends in a full stop without ending a sentence.
ABBREVIATIONS = re.compile(r"\b(e\.g|i\.e|etc|vs|cf|ca|Fig|No)\.|\.\.\.")


def paragraphs(text):
    """The running text of a Markdown page: one string for each paragraph or list item."""
    text = re.sub(r"<!--.*?-->", "", text, flags=re.S)
    text = re.sub(r"^(```|~~~).*?^\1\s*$", "", text, flags=re.S | re.M)
    found = []
    current = ""
    for line in text.splitlines() + [""]:
        inside_list = bool(current) and current.startswith("\0")
        if re.match(r"\s*([-*+]|\d+\.)\s", line):
            found.append(current)
            current = "\0" + re.sub(r"\s*([-*+]|\d+\.)\s+", "", line, count=1)
        elif not line.strip() or line.lstrip().startswith(("|", "#", "!")) or (line.startswith("    ") and not inside_list):
            found.append(current)
            current = ""
        else:
            current = f"{current} {line.strip()}" if current else line.strip()
    return [re.sub(r"\s+", " ", p.strip("\0 ")) for p in found if p.strip("\0 ")]


def help_texts(text):
    """The doc comments of the command line, which are its help."""
    text = text.split("#[cfg(test)]")[0]
    found = []
    current = ""
    for line in text.splitlines() + [""]:
        comment = re.match(r"\s*///\s?(.*)", line)
        if comment and comment.group(1).strip() and not comment.group(1).startswith("  "):
            current = f"{current} {comment.group(1).strip()}".strip()
        elif current:
            found.append(current)
            current = ""
    return found


def sentences(paragraph):
    """The sentences of a paragraph, with code and addresses replaced by a word."""
    plain = re.sub(r"`[^`]*`", "code", paragraph)
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", plain)
    plain = re.sub(r"https?://\S+", "address", plain)
    plain = re.sub(r"[*_]{1,3}", "", plain)
    plain = ABBREVIATIONS.sub(lambda m: m.group(0).replace(".", ""), plain)
    plain = re.sub(r"\d[.,:]\d", "0", plain)
    return [s for s in re.split(r"(?<=[.!?])[\"')]*\s+", plain) if re.search(r"\w", s)]


def main():
    arguments = sys.argv[1:]
    show_long = "--long" in arguments
    files = [a for a in arguments if not a.startswith("--")]
    if not files:
        listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True)
        files = [f for f in listed.stdout.split() if not f.startswith(("tests/data", "codec/tests/golden"))]
        sources = subprocess.run(["git", "ls-files", HELP], cwd=ROOT, capture_output=True, text=True, check=True)
        files += [f for f in sources.stdout.split() if "#[arg(" in (ROOT / f).read_text(encoding="utf-8")]
    print(f"{'page':44} {'sentences':>9} {'words each':>10} {'over ' + str(LONG):>8} {': and ; each':>12}")
    for name in files:
        path = Path(name) if Path(name).exists() else ROOT / name
        text = path.read_text(encoding="utf-8")
        parts = help_texts(text) if name.endswith(".rs") else paragraphs(text)
        found = [s for p in parts for s in sentences(p)]
        if not found:
            continue
        words = [len(s.split()) for s in found]
        marks = sum(len(re.findall(r"[:;]", s)) for s in found)
        too_long = sum(w > LONG for w in words)
        print(f"{name:44} {len(found):9} {sum(words) / len(found):10.1f} {too_long:8} {marks / len(found):12.2f}")
        if show_long:
            for sentence, count in zip(found, words):
                if count > LONG:
                    print(f"    {count}: {sentence}")


if __name__ == "__main__":
    main()
