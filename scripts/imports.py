#!/usr/bin/env python3
"""Finds circles among the modules of each crate: files, and folders, that need each other.

usage: imports.py [--arrows] [CRATE...]     (default: codec indexer lmfs object; ends with 1 if there is a circle)

An arrow leads from a file to a file that defines what the first one uses, by `use` or by a path in the code. A
re-export is no use: what is taken through it comes from where it is defined. Tests are left out. Where there is no
circle among the files and folders of a folder, they can be drawn on floors with every arrow leading down. --arrows
prints the floors, and what leads from each file and folder.
"""
import re
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CRATES = ["codec", "indexer", "lmfs", "object"]
IDENT = r"[A-Za-z_]\w*"


def without_comments(text):
    """The code with comments and the insides of strings blanked."""
    token = re.compile(
        r"""//[^\n]*|/\*.*?\*/|b?r(?P<h>#*)".*?"(?P=h)|b?"(?:\\.|[^"\\])*"|b?'(?:\\.|[^'\\\n])+'""", re.S
    )
    return token.sub(lambda m: '""' if m[0].lstrip("br#").startswith('"') else " ", text)


def end_of_item(text, at):
    """One past an item that begins at `at`: its closing brace or its semicolon."""
    depth = 0
    for i in range(at, len(text)):
        if text[i] in "{([":
            depth += 1
        elif text[i] in "})]":
            depth -= 1
            if depth == 0 and text[i] == "}":
                return i + 1
        elif text[i] == ";" and depth == 0:
            return i + 1
    return len(text)


def without_tests(text):
    """The code without items for tests, and the names of the modules among these."""
    names = []
    while found := re.search(r"#\[cfg\((test|all\(test[^\]]*)\)\]", text):
        at = found.end()
        while attribute := re.match(r"\s*#\[[^\]]*\]", text[at:]):
            at += attribute.end()
        end = end_of_item(text, at)
        module = re.match(rf"\s*(?:pub(?:\([^)]*\))?\s+)?mod\s+({IDENT})\s*;", text[at:end])
        if module:
            names.append(module[1])
        text = text[: found.start()] + text[end:]
    return text, names


def expand(tree, prefix=()):
    """The paths of a `use` tree, each with the name that it gets."""
    tree = tree.strip()
    brace = tree.find("{")
    if brace < 0:
        path, _, alias = tree.partition(" as ")
        parts = tuple(p.strip() for p in path.split("::") if p.strip())
        full = prefix + parts
        if full and full[-1] == "self" and len(full) > 1:
            full = full[:-1]
        return [(full, alias.strip() or (full[-1] if full else ""))]
    head = prefix + tuple(p.strip() for p in tree[:brace].split("::") if p.strip())
    found, depth, start = [], 0, brace + 1
    for i in range(brace + 1, len(tree)):
        if tree[i] == "{":
            depth += 1
        elif tree[i] == "}" and depth:
            depth -= 1
        elif (tree[i] == "," and depth == 0) or tree[i] == "}":
            if tree[start:i].strip():
                found += expand(tree[start:i], head)
            start = i + 1
    return found


class Crate:
    """The modules of a crate."""

    def __init__(self, name):
        self.name = name
        self.src = ROOT / name / "src"
        self.files = {}  # module path: file
        self.code = {}  # module path: code without tests
        self.exports = defaultdict(dict)  # module path: what is re-exported there
        self.uses = defaultdict(list)  # module path: what is imported there
        root = self.src / "lib.rs"
        self.load((), root, self.src)
        for module in list(self.code):
            self.imports(module)

    def load(self, module, file, folder):
        code, tests = without_tests(without_comments(file.read_text()))
        self.files[module], self.code[module] = file, code
        for name in re.findall(rf"\bmod\s+({IDENT})\s*;", code):
            for child, below in ((folder / f"{name}.rs", folder / name), (folder / name / "mod.rs", folder / name)):
                if child.exists() and name not in tests:
                    self.load(module + (name,), child, below)

    def imports(self, module):
        code = self.code[module]
        for found in re.finditer(rf"(pub(?:\([^)]*\))?\s+)?\buse\s+([^;]+);", code):
            for path, name in expand(" ".join(found[2].split())):
                if found[1]:
                    self.exports[module][name] = path
                else:
                    self.uses[module].append(path)
        rest = re.sub(r"\buse\s+[^;]+;", "", code)
        for path in re.findall(rf"(?<![\w:.])({IDENT}(?:::{IDENT})+)", rest):
            parts = tuple(path.split("::"))
            if parts[0] in ("crate", "super", "self") or module + (parts[0],) in self.files:
                self.uses[module].append(parts)

    def resolve(self, module, path, depth=0):
        """The module that defines what `path` names in `module`, or None for what is not of this crate."""
        if depth > 20 or not path:
            return None
        at = module
        if path[0] == "crate":
            at, path = (), path[1:]
        elif path[0] in ("self", "super"):
            while path and path[0] in ("self", "super"):
                at = at[:-1] if path[0] == "super" else at
                path = path[1:]
        elif at + (path[0],) not in self.files and path[0] not in self.exports[at]:
            return None
        while path and at + (path[0],) in self.files:
            at, path = at + (path[0],), path[1:]
        if not path or path[0] == "*":
            return at
        if path[0] in self.exports[at]:
            return self.resolve(at, self.exports[at][path[0]] + path[1:], depth + 1)
        for name, target in self.exports[at].items():
            if name == "*":
                found = self.resolve(at, target[:-1], depth + 1)
                if found is not None and re.search(rf"\b(struct|enum|fn|trait|type|const|static|macro_rules!)\s+{path[0]}\b", self.code[found]):
                    return found
        return at

    def arrows(self):
        arrows = defaultdict(set)
        for module, paths in self.uses.items():
            for path in paths:
                to = self.resolve(module, path)
                if to is not None and to != module:
                    arrows[module].add(to)
        return arrows


def circles(arrows):
    """The strongly connected parts of more than one member (Tarjan)."""
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for to in arrows.get(node, ()):
            if to not in index:
                visit(to)
                low[node] = min(low[node], low[to])
            elif to in stack:
                low[node] = min(low[node], index[to])
        if low[node] == index[node]:
            part = []
            while not part or part[-1] != node:
                part.append(stack.pop())
            if len(part) > 1:
                found.append(sorted(part))

    sys.setrecursionlimit(10000)
    for node in list(arrows):
        if node not in index:
            visit(node)
    return found


def rooms(arrows, folder):
    """The arrows among the members of a folder: files, and folders with the file of the same name."""
    depth = len(folder)
    among = defaultdict(set)
    ties = defaultdict(list)
    for start, ends in arrows.items():
        for end in ends:
            if start[:depth] == end[:depth] == folder:
                a, b = start[: depth + 1], end[: depth + 1]
                if a != b and len(a) > depth and len(b) > depth:
                    among[a].add(b)
                    ties[a, b].append((start, end))
    return among, ties


def floors(among):
    """The height of each room above those that it uses. There are no circles."""
    height = {}

    def of(node):
        if node not in height:
            height[node] = 1 + max((of(to) for to in among.get(node, ())), default=0)
        return height[node]

    for node in list(among):
        of(node)
    return height


def main():
    names = [a for a in sys.argv[1:] if not a.startswith("-")] or CRATES
    bad = 0
    for name in names:
        crate = Crate(name)
        arrows = crate.arrows()
        show = lambda module: str(crate.files[module].relative_to(ROOT)) if module in crate.files else "::".join(module)
        found = circles(arrows)
        for circle in found:
            print(f"{name}: a circle of files: " + ", ".join(map(show, circle)))
        bad += len(found)
        for folder in sorted({m[:n] for m in crate.files for n in range(len(m))}):
            among, ties = rooms(arrows, folder)
            found = circles(among)
            for circle in found:
                members = [m[-1] for m in circle]
                print(f"{name}: a circle in {'::'.join(('crate',) + folder)}: {', '.join(members)}")
                for a in circle:
                    for b in circle:
                        for start, end in ties.get((a, b), ()):
                            print(f"    {show(start)} uses {show(end)}")
            bad += len(found)
            if "--arrows" in sys.argv and not found:
                height = floors(among)
                print(f"{'::'.join((name,) + folder)}")
                for room in sorted(height, key=lambda r: (-height[r], r)):
                    print(f"  {height[room]:2} {room[-1]}: {', '.join(sorted(r[-1] for r in among.get(room, ())))}")
        print(f"{name}: {len(crate.files)} modules, {sum(map(len, arrows.values()))} arrows")
    if bad:
        sys.exit(f"imports: {bad} circles")


if __name__ == "__main__":
    main()
