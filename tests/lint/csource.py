"""Reads C text for the lints: which files there are, and their text without comments, literals or
preprocessor lines. Every function keeps line numbers: what is taken out becomes blanks.
"""
import os
import re

LAYERS = ("base", "blobstore", "manifests", "auth", "registry")
C_ENDINGS = (".c", ".h", ".def")

# A comment, or a string or character literal, whichever begins first.
TOKEN = re.compile(r'//(?:\\\n|[^\n])*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'',
                   re.DOTALL)
CONDITION = re.compile(r"\s*#\s*(if|ifdef|ifndef|elif|else|endif)\b")


def files(root, folders, endings):
    """Paths relative to root, sorted, of files below the folders with one of the endings."""
    found = []
    for folder in folders:
        for here, names, plain in os.walk(os.path.join(root, folder)):
            names[:] = [n for n in names if not n.startswith((".", "build")) and n != "__pycache__"
                        or os.path.relpath(os.path.join(here, n), root) == "tests/build"]
            found += [os.path.relpath(os.path.join(here, n), root)
                      for n in plain if n.endswith(endings)]
    return sorted(found)


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8") as opened:
        return opened.read()


def blank(text):
    """As many lines and columns, nothing to see."""
    return re.sub(r"[^\n]", " ", text)


def without_comments(text):
    def keep_literals(match):
        token = match.group(0)
        return blank(token) if token.startswith("/") else token
    return TOKEN.sub(keep_literals, text)


def without_literals(text):
    """Neither comments nor the insides of literals; the quotes stay."""
    def hollow(match):
        token = match.group(0)
        if token.startswith("/"):
            return blank(token)
        return token[0] + blank(token[1:-1]) + token[-1]
    return TOKEN.sub(hollow, text)


def without_preprocessor(text):
    """Directives with their continuation lines are blanked, and of #if … #else the first branch
    is kept, so that braces balance. Takes text without comments and literals."""
    lines, out = text.split("\n"), []
    branches = []           # for each open #if: is the branch being read its first one?
    continued = False
    for line in lines:
        directive = continued or line.lstrip().startswith("#")
        if directive:
            if not continued:
                note_condition(line, branches)
            continued = line.endswith("\\")
        out.append("" if directive or not all(branches) else line)
    return "\n".join(out)


def note_condition(line, branches):
    match = CONDITION.match(line)
    if not match:
        return
    word = match.group(1)
    if word.startswith("if"):
        branches.append(True)
    elif word == "endif":
        if branches:
            branches.pop()
    elif branches:
        branches[-1] = False


def line_of(text, offset):
    return text.count("\n", 0, offset) + 1


def matching_open(text, close):
    """Offset of the parenthesis that text[close] closes, or -1."""
    depth = 0
    for at in range(close, -1, -1):
        if text[at] == ")":
            depth += 1
        elif text[at] == "(":
            depth -= 1
            if depth == 0:
                return at
    return -1


def name_before(chunk):
    """(name, offset) of the function whose header the chunk is, or None when the brace that
    follows the chunk opens something else (a type, a table)."""
    chunk = re.sub(r"__attribute__\s*\(\(.*?\)\)", lambda m: blank(m.group(0)), chunk,
                   flags=re.DOTALL)
    outside = re.sub(r"\([^()]*\)", lambda m: blank(m.group(0)), chunk)
    if "=" in outside or not chunk.rstrip().endswith(")"):
        return None
    opened = matching_open(chunk, len(chunk.rstrip()) - 1)
    match = re.search(r"([A-Za-z_]\w*)\s*$", chunk[:max(opened, 0)])
    return (match.group(1), match.start(1)) if match else None


def functions(text):
    """Yields (name, first line, last line) of each function body in a C file. The first line is
    the one with the name, the last that of the closing brace."""
    text = without_preprocessor(without_literals(text))
    depth, chunk_start, current = 0, 0, None
    for match in re.finditer(r"[{};]", text):
        at, mark = match.start(), match.group(0)
        if mark == "{":
            if depth == 0:
                named = name_before(text[chunk_start:at])
                if named:
                    current = (named[0], line_of(text, chunk_start + named[1]))
            depth += 1
        elif mark == "}":
            depth = max(depth - 1, 0)
            if depth == 0 and current:
                yield current[0], current[1], line_of(text, at)
                current = None
        if depth == 0:
            chunk_start = at + 1


def report(lint, faults):
    """Prints the faults, returns the exit status."""
    for fault in faults:
        print(fault)
    print(f"{lint}: {len(faults)} faults")
    return 1 if faults else 0
